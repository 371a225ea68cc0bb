"""The batches of all devices as one batch, with gradients.

Each device embeds pairs of its own, and each computes the loss over the pairs of all of them: more
negatives, at the price of a few megabytes. Its gradients are exactly those of one device with the
joined batch. Why: let W devices hold the same loss L of the same embeddings, and e_r be those that
device r made. The gradient that reaches e_r is summed over the devices, ∂L/∂e_r from each, and they
are the same: W · ∂L/∂e_r. Device r takes it to the parameters, W · ∂L/∂e_r · ∂e_r/∂θ, and
`DistributedDataParallel` averages over the devices: Σ_r ∂L/∂e_r · ∂e_r/∂θ = dL/dθ.

The parameters of the loss itself, the temperature, aren't part of what is averaged so; their
gradients are dL/dτ on every device as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import distributed
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

from alm2vec_search.errors import TrainingError
from trainer.losses import PairIds

if TYPE_CHECKING:
    from torch import Tensor


def world_size() -> int:
    """How many devices train together."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


def gather_batch(
    queries: Tensor, documents: Tensor, ids: PairIds
) -> tuple[Tensor, Tensor, PairIds]:
    """This device's part of a batch → the whole of it, the same on every device.

    The pairs come in the order of the devices, and after all of them, in the same order, their hard
    negatives. One collective carries all embeddings, so that there is one on the way back, too.

    Args:
        queries: [B, dim].
        documents: [B+H, dim]; devices may differ in H.
        ids: of the same part.

    Returns:
        queries [W·B, dim], documents [W·B + ΣH, dim], and their ids.

    Raises:
        TrainingError: the devices have different numbers of pairs; on all of them alike.
    """
    if world_size() == 1:
        return queries, documents, ids
    n_pairs, n_negatives = ids.n_pairs, len(ids.negative_owners)
    sizes = all_gather(torch.tensor([n_pairs, n_negatives], device=queries.device))  # [W, 2]
    counts = sizes[:, 1].tolist()
    if len(set(sizes[:, 0].tolist())) > 1:
        raise TrainingError(
            f"devices hold different numbers of pairs: {', '.join(map(str, sizes[:, 0].tolist()))}",
            hint="make all batches of one size, and drop what is left over",
        )
    filling = max(counts) - n_negatives
    rows = F.pad(torch.cat([queries, documents]), (0, 0, 0, filling))  # [2·B + H max, dim]
    everyone: Tensor = AllGather.apply(rows)  # type: ignore[no-untyped-call]  # [W, 2·B + H max, dim]
    all_queries, all_positives, all_negatives = torch.split(
        everyone, [n_pairs, n_pairs, max(counts)], dim=1
    )
    return (
        all_queries.flatten(0, 1),
        torch.cat([all_positives.flatten(0, 1), *_unpadded(all_negatives, counts)]),
        _gather_ids(ids, counts),
    )


def _gather_ids(ids: PairIds, counts: list[int]) -> PairIds:
    """Ids of this device → of all; so many hard negatives on each."""
    n_pairs, most = ids.n_pairs, max(counts)
    filling = most - len(ids.negative_owners)
    row = torch.cat(
        [
            ids.queries,
            ids.clips,
            F.pad(ids.documents, (0, filling)),
            F.pad(ids.negative_owners, (0, filling)),
        ]
    )  # [B + B + B + H max + H max]
    queries, clips, positives, negatives, owners = torch.split(
        all_gather(row), [n_pairs, n_pairs, n_pairs, most, most], dim=1
    )
    ranks = torch.arange(len(counts), device=row.device)[:, None]  # [W, 1]
    return PairIds(
        queries=queries.flatten(),
        documents=torch.cat([positives.flatten(), *_unpadded(negatives, counts)]),
        clips=_without_clashes(clips.flatten()),
        negative_owners=torch.cat(_unpadded(owners + ranks * n_pairs, counts)),
    )


def _without_clashes(clips: Tensor) -> Tensor:
    """Pairs of no clip have negative numbers, unique on their own device: now among all."""
    rows = torch.arange(len(clips), device=clips.device)
    return torch.where(clips < 0, -1 - rows, clips)


def _unpadded(rows: Tensor, counts: list[int]) -> list[Tensor]:
    """[W, H max, ...] → of each device, as many as it has."""
    return [row[:count] for row, count in zip(rows, counts, strict=True)]


class AllGather(torch.autograd.Function):
    """A tensor of one shape everywhere [...] → that of all devices [W, ...].

    The gradient of what a device gave is the sum of what all devices say of it.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return all_gather(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()  # [W, ...]
        distributed.all_reduce(total)
        return total[distributed.get_rank()]


def all_gather(tensor: Tensor) -> Tensor:
    """[...] of each device → [W, ...], without gradient."""
    parts = [torch.empty_like(tensor) for _ in range(world_size())]
    distributed.all_gather(parts, tensor.contiguous())
    return torch.stack(parts)
