"""What the tests of gathering run on each of two devices. Whole batches are made everywhere, by the
same seed, and each device takes its part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from alm2vec_search.errors import TrainingError
from trainer.gathering import gather_batch
from trainer.losses import ContrastiveLoss, PairIds

if TYPE_CHECKING:
    from torch import Tensor

N_PAIRS, DIM = 3, 4  # on each device
NEGATIVES = (slice(6, 7), slice(7, 9))  # rows of the joined batch


def joined_batch() -> tuple[Tensor, Tensor, PairIds]:
    """Six pairs, three a device; the first device's bring a hard negative, the second's two."""
    generator = torch.Generator().manual_seed(1)
    queries = torch.randn(6, DIM, generator=generator)
    documents = torch.cat([queries, queries[[0, 3, 5]]]) + torch.randn(9, DIM, generator=generator)
    ids = PairIds(
        queries=torch.tensor([1, 2, 3, 1, 5, 6]),
        documents=torch.tensor([11, 12, 13, 14, 15, 12, 15, 18, 19]),
        clips=torch.tensor([-1, 7, -2, -1, 7, -2]),
        negative_owners=torch.tensor([0, 3, 5]),
    )
    return queries, documents, ids


def part_of(rank: int) -> tuple[Tensor, Tensor, PairIds]:
    """What one device holds of it."""
    queries, documents, ids = joined_batch()
    rows = slice(N_PAIRS * rank, N_PAIRS * (rank + 1))
    negatives = NEGATIVES[rank]
    owners = ids.negative_owners[negatives.start - 6 : negatives.stop - 6]
    return (
        queries[rows],
        torch.cat([documents[rows], documents[negatives]]),
        PairIds(
            queries=ids.queries[rows],
            documents=torch.cat([ids.documents[rows], ids.documents[negatives]]),
            clips=ids.clips[rows],
            negative_owners=owners - N_PAIRS * rank,
        ),
    )


def gather_and_learn() -> dict[str, Any]:
    """The gathered batch, the loss, and the gradients of what this device holds."""
    queries, documents, ids = part_of(distributed.get_rank())
    queries.requires_grad_()
    documents.requires_grad_()
    loss = ContrastiveLoss(0.3)
    all_queries, all_documents, all_ids = gather_batch(queries, documents, ids)
    outcome = loss(all_queries, all_documents, all_ids)
    outcome.loss.backward()
    return {
        "queries": all_queries.detach(),
        "documents": all_documents.detach(),
        "query_ids": all_ids.queries,
        "document_ids": all_ids.documents,
        "clip_ids": all_ids.clips,
        "owners": all_ids.negative_owners,
        "loss": outcome.loss.item(),
        "gradients": (queries.grad, documents.grad),
        "of_scale": loss.log_scale.grad,
        "uneven": uneven(),
    }


def uneven() -> str:
    """What is said of a pair too many on one device."""
    queries, documents, ids = part_of(0)
    n_pairs = 3 - distributed.get_rank()
    ids = PairIds(
        ids.queries[:n_pairs], ids.documents[:n_pairs], ids.clips[:n_pairs], torch.zeros(0)
    )
    try:
        gather_batch(queries[:n_pairs], documents[:n_pairs], ids)
    except TrainingError as error:
        return str(error)
    return ""
