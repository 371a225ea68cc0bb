"""From settings to live objects. Heavy imports happen here, and only when they are needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from alm2vec_search.model.hub import BUNDLED, dtype_of, find_model

if TYPE_CHECKING:
    from alm2vec_search.collection.base import CollectionInfo
    from alm2vec_search.collection.edge import EdgeCollection
    from alm2vec_search.domain import Encoder
    from alm2vec_search.search import Searcher
    from alm2vec_search.settings import Settings


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """All it takes to build an encoder, small enough to send to another process."""

    model: str
    dtype: str
    device: str
    batch_size: int
    num_threads: int | None  # of torch, for one operation; None leaves it alone

    @property
    def fingerprint(self) -> str:
        """Of the encoder that `build` would make."""
        return find_model(self.model).fingerprint(self.dtype)

    @property
    def embedding_dim(self) -> int:
        """Of the vectors it would make."""
        return find_model(self.model).embedding_dim

    def build(self) -> Encoder:
        """Load the model.

        Raises:
            ModelError: it isn't there, or can't be loaded.
        """
        import torch

        from alm2vec_search.model.encoder import ALM2VecEncoder

        if self.num_threads is not None:
            torch.set_num_threads(self.num_threads)
        return ALM2VecEncoder(
            find_model(self.model),
            dtype=self.dtype,
            device=self.device,
            batch_size=self.batch_size,
        )


def encoder_spec(settings: Settings, existing: CollectionInfo | None = None) -> EncoderSpec:
    """What encodes under these settings; what they leave open is as in the existing index."""
    wanted = settings.model or (existing.model if existing else BUNDLED)
    model = find_model(wanted).name  # as it can be found from any folder
    dtype: str = settings.dtype
    if dtype == "auto" and existing is not None:
        dtype = dtype_of(existing.fingerprint)
    elif dtype == "auto":
        from alm2vec_search.model.hardware import preferred_dtype

        dtype = preferred_dtype(settings.device)
    # Threads wait for each other: beside another busy process, two took ten times as long as one.
    num_threads = 1 if settings.device == "cpu" else None
    return EncoderSpec(model, dtype, settings.device, settings.batch_size, num_threads)


def open_collection(settings: Settings) -> EdgeCollection:
    """The index that is there.

    Raises:
        CollectionNotFound: nothing was indexed yet.
        CollectionBusy: another process has it open.
    """
    from alm2vec_search.collection.edge import EdgeCollection

    return EdgeCollection.open(settings.store_path)


def build_searcher(settings: Settings, collection: EdgeCollection) -> Searcher:
    """What answers from this collection.

    Raises:
        IncompatibleCollection: it was made by another model than the settings name.
        ModelError: the model can't be loaded.
    """
    from alm2vec_search.collection.info import require_compatible
    from alm2vec_search.search import Searcher

    spec = encoder_spec(settings, collection.info)
    asking = replace(collection.info, fingerprint=spec.fingerprint, model=spec.model)
    require_compatible(settings.store_path, expected=asking, found=collection.info)
    return Searcher(spec.build(), collection)
