"""The contrastive loss: symmetric InfoNCE over scaled cosines, with false negatives left out.

**Idea.** A batch holds B pairs of a query and the document that answers it. Each query shall find
its own document among all the documents of the batch, and each document its own query among all
the queries: 2·B classifications, whose classes are whatever else the batch holds. A pair may bring
hard negatives, documents that look right and aren't; they are further classes for queries. What
comes from the other devices is part of the batch (`gathering`), and so is what doesn't fit into
memory at once (`gradient_cache`).

**Formula.** With the cosines s_ij of query i and document j, the scale 1/τ, and masks m, m' that
are 0 or 1,

    query → document    p_i = exp(s_ii/τ) / (exp(s_ii/τ) + Σ_{j≠i} m_ij  exp(s_ij/τ))   j of B + H
    document → query    p'_j = exp(s_jj/τ) / (exp(s_jj/τ) + Σ_{i≠j} m'_ij exp(s_ij/τ))   i of B

    L = ½ · (−1/B Σ_i log p_i) + ½ · (−1/B Σ_j log p'_j)

The hard negatives, columns B to B + H of the first, have no part in the second: nothing is asked of
them. All is computed in float32, whatever autocast says, since 1/τ multiplies an error of a cosine
by up to 100.

**Temperature.** τ is learnt, as the logarithm of 1/τ, which starts at 0.07 and stays between 1 and
1/100: CLIP's values, unless others are given. Where it hits a bound it can still turn round, since
the parameter itself is put back after each step (`clamp_scale_`).

**Masks.** In a batch drawn from captions and answers, some of the "negatives" are right: two clips
of rain, one question asked of two sounds, two captions of one clip. Pushing them apart is wrong
twice over, as they are the highest scores, with the largest gradients. They are left out (m = 0,
the logit is −∞) for one of two reasons, decided on cosines without gradient, before they are
scaled; what is left out on one side of a batch may well stay on the other.

- *Identity*, whatever the scores: the batch itself says that query i and document j belong
  together, because some pair of it joins the same query content and the same document content
  (i's own, j's own, or a third one); or because both were made from the same clip.
- *Similarity*, a `SimilarityMask`: `RelativeMask` leaves out what scores higher than the row's own
  positive by more than a margin (document → query: than the column's own); `AbsoluteMask`, what
  scores higher than a threshold; `NoMask`, nothing.

The positives are never masked. Neither is a hard negative in the row of the pair that brought it,
unless its content is that of a positive: somebody looked at it, and said that it is wrong.

**Relations.** Without masks and hard negatives it is CLIP's loss [1]; one direction of it is
InfoNCE [2], also known as multiple negatives ranking. The relative mask is that of Qwen3-Embedding
[3], with its margin of 0.1, which masks in more blocks (queries with queries, documents with
documents) than are used here. GISTEmbed [4] compares in the same way, with the scores of a frozen
guide, and no margin: stricter, and a second model to run. ALM2Vec [5] trains with the symmetric
loss, a learnt temperature, and negatives of high similarity masked; how high is high it doesn't
say.

**References.**
[1] Radford et al., Learning transferable visual models from natural language supervision, 2021,
    arXiv 2103.00020
[2] van den Oord et al., Representation learning with contrastive predictive coding, 2018,
    arXiv 1807.03748
[3] Zhang et al., Qwen3 Embedding, 2025, arXiv 2506.05176
[4] Solatorio, GISTEmbed: guided in-sample selection of training negatives, 2024, arXiv 2402.16829
[5] ALM2Vec, 2026, arXiv 2606.30682
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

from alm2vec_search.errors import TrainingError

TEMPERATURE = 0.07
SMALLEST_SCALE = 1.0
LARGEST_SCALE = 100.0
NAMED = 5  # rows that aren't finite, before the rest is only counted


@dataclass(frozen=True, slots=True)
class RelativeMask:
    """A negative is left out where it scores higher than the positive by more than `margin`."""

    margin: float = 0.1

    def too_similar(self, similarities: Tensor, positives: Tensor) -> Tensor:
        """Cosines [R, C] and those of each row's positive [R, 1] → bool [R, C]."""
        return similarities > positives + self.margin


@dataclass(frozen=True, slots=True)
class AbsoluteMask:
    """A negative is left out where it scores higher than `threshold`."""

    threshold: float

    def too_similar(self, similarities: Tensor, positives: Tensor) -> Tensor:
        """Cosines [R, C] and those of each row's positive [R, 1] → bool [R, C]."""
        return similarities > self.threshold


@dataclass(frozen=True, slots=True)
class NoMask:
    """Every negative counts, however similar."""

    def too_similar(self, similarities: Tensor, positives: Tensor) -> Tensor:
        """Cosines [R, C] and those of each row's positive [R, 1] → bool [R, C]."""
        return torch.zeros_like(similarities, dtype=torch.bool)


SimilarityMask = RelativeMask | AbsoluteMask | NoMask


@dataclass(frozen=True, slots=True, eq=False)
class PairIds:
    """Who is who in a batch of B pairs with H hard negatives. Equal numbers, equal contents."""

    queries: Tensor  # int64 [B]
    documents: Tensor  # int64 [B+H], the pairs' own and then the hard negatives
    clips: Tensor  # int64 [B], what each pair was made from
    negative_owners: Tensor  # int64 [H], the row of the pair that brought it

    @property
    def n_pairs(self) -> int:
        """B."""
        return len(self.queries)

    def known_pairs(self) -> Tensor:
        """Where the batch says that a query and a document belong together: bool [B, B+H].

        Some pair has the content of both. Its own diagonal is among them.
        """
        same_query = self.queries[:, None] == self.queries  # [B, B]
        same_document = self.documents[: self.n_pairs, None] == self.documents  # [B, B+H]
        return (same_query.float() @ same_document.float()) > 0

    def same_clip(self) -> Tensor:
        """Where a query and a document come from one clip, but not from one pair: bool [B, B+H].

        A hard negative comes from the clip of the pair that brought it.
        """
        pairs = torch.arange(self.n_pairs, device=self.clips.device)
        owners = torch.cat([pairs, self.negative_owners])  # [B+H]
        clips = self.clips[owners]  # [B+H]
        return (self.clips[:, None] == clips) & (pairs[:, None] != owners)

    def own_columns(self) -> Tensor:
        """What a pair itself brought, its document and its hard negatives: bool [B, B+H]."""
        pairs = torch.arange(self.n_pairs, device=self.clips.device)
        return pairs[:, None] == torch.cat([pairs, self.negative_owners])


@dataclass(frozen=True, slots=True, eq=False)
class ContrastiveOutcome:
    """The loss of a batch, and what to know about how it came about; all but it without gradient.

    Shares are of all terms that are no positives: B·(B−1+H) of queries, and B·(B−1) of documents.
    """

    loss: Tensor  # float32 []
    accuracy: Tensor  # float32 [], the share of queries that find their document first
    masked_by_similarity: Tensor  # float32 [], a share
    masked_by_identity: Tensor  # float32 [], a share
    without_negatives: Tensor  # int64 [], of the 2·B queries and documents, which teach nothing
    scale: Tensor  # float32 []

    @property
    def temperature(self) -> Tensor:
        """float32 []."""
        return 1 / self.scale

    def measured(self) -> dict[str, Tensor]:
        """What to log beside the loss, by its name."""
        return {
            "accuracy": self.accuracy,
            "masked_by_similarity": self.masked_by_similarity,
            "masked_by_identity": self.masked_by_identity,
            "without_negatives": self.without_negatives,
            "temperature": self.temperature,
        }


class ContrastiveLoss(nn.Module):
    """Embeddings of a batch → its loss; this module's docstring is the page on it.

    Args:
        temperature: what it starts with.
        learn_temperature: or else it stays so.
        max_scale: the temperature is never less than 1 / max_scale.
        mask: which negatives are too similar to be negatives.

    Raises:
        TrainingError: the temperature is out of bounds.
    """

    def __init__(
        self,
        temperature: float = TEMPERATURE,
        *,
        learn_temperature: bool = True,
        max_scale: float = LARGEST_SCALE,
        mask: SimilarityMask | None = None,
    ) -> None:
        super().__init__()
        if not 1 / max_scale <= temperature <= 1 / SMALLEST_SCALE:
            raise TrainingError(
                f"a temperature of {temperature:g} is out of bounds",
                hint=f"choose one from {1 / max_scale:g} to {1 / SMALLEST_SCALE:g}",
            )
        self.bounds = (math.log(SMALLEST_SCALE), math.log(max_scale))  # of the parameter
        self.mask = RelativeMask() if mask is None else mask
        start = torch.tensor(math.log(1 / temperature), dtype=torch.float32)
        self.log_scale = nn.Parameter(start, requires_grad=learn_temperature)  # []

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied with: float32 []."""
        return self.log_scale.clamp(*self.bounds).exp()

    @torch.no_grad()
    def clamp_scale_(self) -> None:
        """Put the parameter back into its bounds, after a step of the optimiser."""
        self.log_scale.clamp_(*self.bounds)

    def forward(self, queries: Tensor, documents: Tensor, ids: PairIds) -> ContrastiveOutcome:
        """Compare all with all.

        Args:
            queries: embeddings [B, dim] of any length and type.
            documents: embeddings [B+H, dim], the pairs' own and then the hard negatives.
            ids: of the same batch.

        Raises:
            TrainingError: there is nothing to compare with, or the loss isn't finite.
        """
        if len(documents) < 2:
            raise TrainingError(
                "a batch of a single pair has no negatives to learn from",
                hint="make batches of at least two pairs; more are better",
            )
        with torch.autocast(queries.device.type, enabled=False):
            cosines = (
                F.normalize(queries.float(), dim=-1) @ F.normalize(documents.float(), dim=-1).T
            )
            outcome = self._compare(cosines, ids)
        if not outcome.loss.isfinite():
            raise TrainingError(
                f"the loss isn't finite: {_culprit(queries, documents)}",
                hint="look at those inputs; a lower learning rate or bfloat16 may help",
            )
        return outcome

    def _compare(self, cosines: Tensor, ids: PairIds) -> ContrastiveOutcome:
        """Cosines [B, B+H] → the loss of both directions."""
        n_pairs = ids.n_pairs
        masks = _Masks.of(cosines.detach(), ids, self.mask)
        scale = self.scale
        to_documents = (scale * cosines).masked_fill(masks.of_queries, -torch.inf)  # [B, B+H]
        to_queries = (scale * cosines[:, :n_pairs]).T  # [B, B], a document a row
        to_queries = to_queries.masked_fill(masks.of_documents, -torch.inf)
        own = torch.arange(n_pairs, device=cosines.device)  # [B]
        loss = (F.cross_entropy(to_documents, own) + F.cross_entropy(to_queries, own)) / 2
        return ContrastiveOutcome(
            loss=loss,
            accuracy=(to_documents.detach().argmax(dim=1) == own).float().mean(),
            masked_by_similarity=masks.share_by_similarity,
            masked_by_identity=masks.share_by_identity,
            without_negatives=masks.without_negatives,
            scale=scale.detach(),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Masks:
    """What is left out, by rows that are queries and by rows that are documents."""

    of_queries: Tensor  # bool [B, B+H]
    of_documents: Tensor  # bool [B, B]
    share_by_similarity: Tensor  # float32 []
    share_by_identity: Tensor  # float32 []
    without_negatives: Tensor  # int64 []

    @classmethod
    def of(cls, cosines: Tensor, ids: PairIds, mask: SimilarityMask) -> _Masks:
        """Cosines [B, B+H] → the masks."""
        n_pairs = ids.n_pairs
        square = cosines[:, :n_pairs]  # [B, B]
        positives = square.diagonal()[:, None]  # [B, 1]
        diagonal = torch.eye(n_pairs, dtype=torch.bool, device=cosines.device)  # [B, B]
        never = F.pad(diagonal, (0, cosines.shape[1] - n_pairs))  # [B, B+H]

        same = (ids.known_pairs() | ids.same_clip()) & ~never
        same_of_documents = same[:, :n_pairs].T
        similar = mask.too_similar(cosines, positives) & ~ids.own_columns() & ~same
        similar_of_documents = mask.too_similar(square.T, positives) & ~diagonal
        similar_of_documents = similar_of_documents & ~same_of_documents

        of_queries, of_documents = same | similar, same_of_documents | similar_of_documents
        n_terms = never.numel() + diagonal.numel() - 2 * n_pairs
        return cls(
            of_queries,
            of_documents,
            share_by_similarity=(similar.sum() + similar_of_documents.sum()) / n_terms,
            share_by_identity=(same.sum() + same_of_documents.sum()) / n_terms,
            without_negatives=(of_queries | never).all(dim=1).sum()
            + (of_documents | diagonal).all(dim=1).sum(),
        )


def _culprit(queries: Tensor, documents: Tensor) -> str:
    """Which embeddings aren't finite, or what else it is."""
    said = []
    for name, embeddings in (("queries", queries), ("documents", documents)):
        rows = (~embeddings.isfinite().all(dim=1)).nonzero().flatten().tolist()
        if rows:
            more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
            said.append(f"{name} {', '.join(map(str, rows[:NAMED]))}{more}")
    if said:
        return f"what the model makes of {' and of '.join(said)} of the batch isn't"
    return "the embeddings are, the temperature isn't"
