"""What no store takes, whichever Qdrant is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alm2vec_search.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.collection.base import CollectionInfo
    from alm2vec_search.domain import Aspect, Embedding, Embeddings, Place


def checked_vectors(embeddings: Sequence[Embedding], dim: int) -> Embeddings:
    """As one array, float32 [n, dim]. Qdrant Edge itself takes NaN without a word.

    Raises:
        ValueError: one of them is not finite, or has another dimension.
    """
    for embedding in embeddings:
        if embedding.shape != (dim,):
            raise ValueError(f"not a vector of {dim} numbers: its shape is {embedding.shape}")
    vectors = np.stack(embeddings).astype(np.float32, copy=False)  # [n, dim]
    if not np.isfinite(vectors).all():
        raise ValueError("not a vector: a number in it is not finite")
    return vectors


def require_places(places: Sequence[Place]) -> None:
    if not places:
        raise ValueError("a content has to lie somewhere: there are no places")


def require_limit(limit: int) -> None:
    if limit < 1:
        raise ValueError(f"not a limit: {limit}")


def require_aspect(info: CollectionInfo, name: str, store: str) -> None:
    """
    Raises:
        CollectionError: there is no such aspect.
    """
    if info.aspect(name) is None:
        known = ", ".join(aspect.name for aspect in info.aspects)
        raise CollectionError(
            f"there is no aspect {name} in {store}",
            hint=f"there are: {known}" if known else "alm2vec index --aspect adds one",
        )


def is_new_aspect(info: CollectionInfo, aspect: Aspect) -> bool:
    """
    Raises:
        CollectionError: there is one of that name with another instruction.
    """
    known = info.aspect(aspect.name)
    if known is not None and known != aspect:
        raise CollectionError(
            f"the aspect {known.name} asks another thing: {known.instruction}",
            hint=f"alm2vec remove --aspect {known.name} first, or use another name",
        )
    return known is None
