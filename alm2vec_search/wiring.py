"""From settings to live objects. Heavy imports happen here, and only when they are needed."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from alm2vec_search.errors import CollectionError, ModelError, ModelNotHere, one_line
from alm2vec_search.model.hub import BUNDLED, Layout, dtype_of, find_model
from alm2vec_search.model.licences import licence_note
from alm2vec_search.model.repositories import Repository
from alm2vec_search.settings import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from alm2vec_search.addresses import ServerAddress
    from alm2vec_search.collection.base import Collection, CollectionInfo
    from alm2vec_search.domain import Encoder
    from alm2vec_search.model.health import Health
    from alm2vec_search.model.hub import ModelFiles
    from alm2vec_search.search import Searcher
    from alm2vec_search.settings import Settings
    from alm2vec_search.verdicts import Judge

MOST_FETCHES = 2  # an adapter, and its base; or the halves of a cascade

log = logging.getLogger("alm2vec_search")


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """All it takes to build an encoder, small enough to send to another process."""

    model: str
    dtype: str
    device: str
    batch_size: int | None  # None is what suits the device
    num_threads: int | None  # of torch, for one operation; None leaves it alone
    trust_remote_code: bool = False
    health_folder: Path | None = None  # of what examinations found; None: nothing is examined
    is_one_of_many: bool = False  # others build the same, and what is wrong is said once

    @property
    def files(self) -> ModelFiles:
        """The model on disk, as it is going to be read."""
        files = find_model(self.model)
        return replace(files, layout=Layout.REMOTE_CODE) if self.trust_remote_code else files

    @property
    def fingerprint(self) -> str:
        """Of the encoder that `build` would make."""
        return self.files.fingerprint(self.dtype)

    @property
    def embedding_dim(self) -> int:
        """Of the vectors it would make."""
        files = self.files
        if not files.is_described:
            return self._load().embedding_dim  # nothing that could be read says it
        return files.embedding_dim

    @property
    def is_shared(self) -> bool:
        """Whether one encoder should serve all processes of a run, and not each have its own."""
        return self.device != "cpu"

    @property
    def num_workers(self) -> int:
        """How many processes suit this machine."""
        takes_all_cores = not self.is_shared and find_model(self.model).is_large
        return 1 if takes_all_cores else usable_cores()

    def say_where(self, announce: Callable[[str], None]) -> None:
        """Tell where a large model is about to run, so that a GPU that isn't used is noticed."""
        if find_model(self.model).is_large:
            announce(f"{self.model} on {self.device}, {self.dtype}")

    def require_device(self) -> None:
        """
        Raises:
            ModelError: the device isn't there. Known before there is work for it.
        """
        if self.device != "cpu":
            from alm2vec_search.model.hardware import require_device

            require_device(self.device)

    @property
    def for_workers(self) -> EncoderSpec:
        """For processes that build it side by side, after the one that starts them has asked
        `warn_if_ill`: of them, only who examines a model first says what is wrong with it."""
        return replace(self, is_one_of_many=True)

    def build(self) -> Encoder:
        """Load the model, and warn where its vectors can't be searched by.

        It is examined when it is loaded for the first time; later loads warn of what was found.

        Raises:
            ModelError: it isn't there, or can't be loaded.
        """
        encoder = self._load()
        if self.health_folder is not None:
            self._look_at(encoder, self.health_folder)
        return encoder

    def warn_if_ill(self) -> None:
        """Warn of what was found before, without loading the model.

        Raises:
            ModelError: there is no such model, or its files can't be read.
        """
        if self.health_folder is None:
            return
        from alm2vec_search.model.health import kept

        health = kept(self.health_folder / self._health_name(self.fingerprint))
        if health is not None:
            self._warn_of(health)

    def examine(self) -> Health:
        """Load the model and examine it anew, whatever was found before.

        Raises:
            ModelError: it isn't there, or can't be loaded or examined.
        """
        from alm2vec_search.model.health import examine, forget, keep

        encoder = self._load()
        try:
            health = examine(encoder)
        except Exception as error:
            raise ModelError(f"{self.model} can't be examined: {one_line(error)}") from error
        if self.health_folder is not None:
            path = self.health_folder / self._health_name(encoder.fingerprint)
            forget(path)
            keep(health, path)
        return health

    def _look_at(self, encoder: Encoder, folder: Path) -> None:
        """An examination that fails must not keep anyone from an encoder that may do for them."""
        from alm2vec_search.model.health import examine, keep, kept

        path = folder / self._health_name(encoder.fingerprint)
        health, is_news = kept(path), False
        try:
            if health is None:
                health = examine(encoder)
                is_news = keep(health, path)
        except Exception as error:
            if not self.is_one_of_many:
                log.warning("%s can't be examined: %s", self.model, one_line(error))
            return
        if is_news or not self.is_one_of_many:
            self._warn_of(health)

    def _health_name(self, fingerprint: str) -> str:
        from alm2vec_search.model.health import file_name

        return file_name(fingerprint, self.device, self.batch_size)

    def _warn_of(self, health: Health) -> None:
        for complaint in health.complaints():
            log.warning("%s is ill: %s", self.model, complaint)

    def _load(self) -> Encoder:
        import torch

        if self.num_threads is not None:
            torch.set_num_threads(self.num_threads)
        files = self.files
        if files.layout is Layout.REMOTE_CODE:
            from alm2vec_search.model.remote_code import RemoteCodeEncoder

            return RemoteCodeEncoder(files, dtype=self.dtype, device=self.device)
        if files.layout is Layout.SENTENCE_TRANSFORMERS:
            from alm2vec_search.model.st_encoder import SentenceTransformersEncoder

            return SentenceTransformersEncoder(
                files.folder,
                name=files.name,
                fingerprint=files.fingerprint(self.dtype),
                dtype=self.dtype,
                device=self.device,
                batch_size=self.batch_size or 8,
            )
        if files.layout is Layout.CASCADE:
            from alm2vec_search.model.cascade import CascadeEncoder

            return CascadeEncoder(
                files, dtype=self.dtype, device=self.device, batch_size=self.batch_size
            )
        from alm2vec_search.model.encoder import ALM2VecEncoder

        return ALM2VecEncoder(
            files, dtype=self.dtype, device=self.device, batch_size=self.batch_size
        )


def encoder_spec(settings: Settings, existing: CollectionInfo | None = None) -> EncoderSpec:
    """What encodes under these settings; what they leave open is as in the existing index.

    Raises:
        ModelError: there is no such model, or it wasn't fetched yet.
    """
    files = find_model(settings.model or (existing.model if existing else BUNDLED))
    device, dtype = settings.device, str(settings.dtype)
    if device == "auto" and not files.is_large:
        device = "cpu"  # where all cores share the work
    elif device == "auto":
        from alm2vec_search.model.hardware import preferred_device

        device = preferred_device()
    if dtype == "auto" and existing is not None:
        dtype = dtype_of(existing.fingerprint)
    elif dtype == "auto":
        from alm2vec_search.model.hardware import preferred_dtype

        dtype = preferred_dtype(device)
    return EncoderSpec(
        model=files.name,  # as it can be found from any folder
        dtype=dtype,
        device=device,
        batch_size=settings.batch_size,
        # Threads wait for each other: beside another busy process, two took ten times as long as
        # one. A large model has the machine for itself.
        num_threads=1 if device == "cpu" and not files.is_large else None,
        trust_remote_code=settings.trust_remote_code,
        health_folder=settings.home / "health",
    )


def fetch_model(name: str, announce: Callable[[str], None]) -> ModelFiles:
    """The model of that name; what of it, or of the base it needs, isn't here is fetched.

    Raises:
        ModelError: there is no such model, or it can't be fetched.
    """
    for _ in range(MOST_FETCHES):
        try:
            return find_model(name)
        except ModelNotHere as missing:
            repository = Repository.parse(missing.model)
            assert repository is not None
            repository.fetch(announce)
            if note := licence_note(repository.repo_id):
                announce(note)
    return find_model(name)


def open_collection(settings: Settings) -> Collection:
    """The index that is there.

    Raises:
        CollectionNotFound: nothing was indexed yet.
        CollectionBusy: another process has it open, and it is embedded.
        CollectionUnavailable: its server can't be reached, or lets nobody in.
    """
    if (address := _server(settings)) is not None:
        from alm2vec_search.collection.server import ServerCollection

        return ServerCollection.open(address)
    from alm2vec_search.collection.edge import EdgeCollection

    return EdgeCollection.open(settings.store_path)


def open_or_create(settings: Settings, info: CollectionInfo) -> Collection:
    """The index that is there, or an empty one. Hold it as the `sole_writer`.

    Raises:
        IncompatibleCollection: the one that is there was made by something else.
        CollectionBusy, CollectionUnavailable: as `open_collection`.
        CollectionFull: there is no room on the disk for a new one.
    """
    if (address := _server(settings)) is not None:
        from alm2vec_search.collection.server import ServerCollection
        from alm2vec_search.collection.server_schema import ClusterLayout

        layout = ClusterLayout(
            shard_number=settings.shard_number,
            replication_factor=settings.replication_factor,
            write_consistency_factor=settings.write_consistency_factor,
        )
        return ServerCollection.open_or_create(address, info, layout)
    from alm2vec_search.collection.edge import EdgeCollection

    return EdgeCollection.open_or_create(settings.store_path, info)


def drop_collection(settings: Settings) -> None:
    """Forget the index, whatever state it is in. None there is fine.

    Raises:
        CollectionBusy, CollectionUnavailable: as `open_collection`.
        CollectionError: it can't be deleted.
    """
    if (address := _server(settings)) is not None:
        from alm2vec_search.collection.server import ServerCollection

        ServerCollection.drop(address)
        return
    from alm2vec_search.collection.edge import EdgeCollection

    EdgeCollection.drop(settings.store_path)


def read_info(settings: Settings) -> CollectionInfo | None:
    """What made the index that is there; None if there is none. One in a folder isn't opened.

    Raises:
        CollectionError: what says so is damaged, or of a later version.
        CollectionUnavailable: its server can't be reached, or lets nobody in.
    """
    if (address := _server(settings)) is not None:
        from alm2vec_search.collection.server import read_server_info

        return read_server_info(address)
    from alm2vec_search.collection.info import read_info as read_folder

    return read_folder(settings.store_path)


@contextmanager
def sole_writer(settings: Settings) -> Iterator[None]:
    """No other process of this machine writes to the same index meanwhile.

    An embedded one sees to that itself; for one on a server, what is kept here is locked.

    Raises:
        CollectionBusy: another process is at it.
        CollectionError: the folder can't be written to.
    """
    if settings.server is None:
        yield
        return
    from alm2vec_search.collection.lock import StoreLock

    folder = settings.store_path
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CollectionError(
            f"{folder} can't be made: {error.strerror}", hint="see home in the settings"
        ) from error
    lock = StoreLock(folder)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _server(settings: Settings) -> ServerAddress | None:
    address = settings.server
    if address is not None and address.exposes_key:
        _warn_of_open_key(address.url)
    return address


@cache  # once for each server
def _warn_of_open_key(url: str) -> None:
    log.warning("the key for %s goes over the network as it is; use https", url)


def build_encoder(
    settings: Settings, info: CollectionInfo, announce: Callable[[str], None]
) -> Encoder:
    """The encoder of questions for a collection.

    Args:
        announce: is told where a large model runs, before it is loaded.

    Raises:
        IncompatibleCollection: it was made by another model than the settings name.
        ModelError: the model can't be loaded.
    """
    from alm2vec_search.collection.info import require_compatible

    spec = encoder_spec(settings, info)
    asking = replace(info, fingerprint=spec.fingerprint, model=spec.model)
    require_compatible(settings.store_name, expected=asking, found=info)
    spec.say_where(announce)
    return spec.build()


def build_judge(settings: Settings, encoder: Encoder) -> Judge:
    """What judges answers by this encoder."""
    from alm2vec_search.verdicts import Judge, cache_name

    return Judge(encoder, settings.home / "everyday" / cache_name(encoder.fingerprint))


def build_searcher(
    settings: Settings, collection: Collection, announce: Callable[[str], None]
) -> Searcher:
    """What answers from this collection.

    Raises:
        IncompatibleCollection, ModelError: as `build_encoder`.
    """
    from alm2vec_search.search import Searcher

    encoder = build_encoder(settings, collection.info, announce)
    return Searcher(encoder, collection, judge=build_judge(settings, encoder))
