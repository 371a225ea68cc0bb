"""The files of Qdrant Edge: making them, opening them, and its complaints about them."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import qdrant_edge as qdrant

from alm2vec_search.collection.info import REBUILD_HINT, remove_info, write_info
from alm2vec_search.collection.lock import UNKNOWN_HOLDER
from alm2vec_search.collection.payload import (
    CONTENT_HASH,
    NUMBERS,
    PATH,
    SILENT,
    SOUGHT_NAMED,
    SOUGHT_PATHS,
    SOUGHT_TAGS,
    SOUGHT_WORDS,
)
from alm2vec_search.collection.room import NO_ROOM_HINT, require_room
from alm2vec_search.conditions import NumberField
from alm2vec_search.errors import CollectionBusy, CollectionError, CollectionFull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from alm2vec_search.collection.base import CollectionInfo

_SHARD = "shard"
_SHARD_PARTS = {"edge_config.json", "segments", "wal"}
_INDEXED_NUMBERS = set(NumberField) - {NumberField.START, NumberField.END}
_FULL = ("No space left on device", "Disk quota exceeded", "os error 112")  # the last: Windows


def create_shard(folder: Path, info: CollectionInfo) -> qdrant.EdgeShard:
    """A new shard with its indexes, and then, as the last step, the info that makes it count.

    Raises:
        CollectionFull: there is no room on the disk. Nothing is left behind.
    """
    require_room(folder)
    path = folder / _SHARD
    with translated_errors(folder):
        remove_shard(folder)  # of somebody who didn't get to the last step
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, path, ignore_errors=True)
            undo.callback(remove_info, folder)
            shard = qdrant.EdgeShard.create(str(path), _config(info.embedding_dim))
            undo.callback(shard.close)
            for field, index in _indexes().items():
                shard.update(qdrant.UpdateOperation.create_field_index(field, index))
            shard.flush()
            write_info(folder, info)
            undo.pop_all()
    return shard


def _config(dim: int) -> qdrant.EdgeConfig:
    """Cosine, though vectors come normalised: it costs nothing, and a score is a cosine for sure.

    The vectors stay on the disk until they are compared; with codes, few of them ever are.
    """
    codes = qdrant.TurboQuantQuantizationConfig(bits=qdrant.TurboQuantBitSize.Bits4)
    vectors = qdrant.EdgeVectorParams(
        size=dim, distance=qdrant.Distance.Cosine, memory=qdrant.Memory.Cold
    )
    return qdrant.EdgeConfig(vectors=vectors, quantization_config=codes)


def _indexes() -> dict[str, qdrant.PayloadSchemaParams]:
    return {
        CONTENT_HASH: qdrant.KeywordIndexParams(),
        PATH: qdrant.KeywordIndexParams(prefix=True),
        SILENT: qdrant.IntegerIndexParams(lookup=True, range=False),
        **{NUMBERS[field]: qdrant.FloatIndexParams() for field in _INDEXED_NUMBERS},
        SOUGHT_PATHS: qdrant.KeywordIndexParams(prefix=True),
        SOUGHT_TAGS: qdrant.KeywordIndexParams(prefix=True),
        SOUGHT_NAMED: qdrant.KeywordIndexParams(prefix=True),
        SOUGHT_WORDS: qdrant.TextIndexParams(
            tokenizer=qdrant.TokenizerType.Word,
            lowercase=True,
            ascii_folding=True,
            stopwords=qdrant.Language.English,
            stemmer=qdrant.SnowballParams(qdrant.SnowballLanguage.English),
            scoring=True,
        ),
    }


def load_shard(folder: Path) -> qdrant.EdgeShard:
    """The shard that is there.

    Raises:
        CollectionError: it is damaged.
    """
    with translated_errors(folder, hint=REBUILD_HINT):
        shard = qdrant.EdgeShard.load(str(folder / _SHARD))
        missing = _indexes().keys() - shard.info().payload_schema.keys()
        if missing:  # as when its files were deleted: then Qdrant Edge starts anew, in silence
            shard.close()
            raise CollectionError(f"the index in {folder} is damaged", hint=REBUILD_HINT)
    return shard


def remove_shard(folder: Path) -> None:
    """Delete the shard, unless it is a folder of the user's that has the same name.

    Raises:
        CollectionError: there is something in it that isn't Qdrant's.
    """
    path = folder / _SHARD
    if not path.exists():
        return
    if not path.is_dir() or not {entry.name for entry in path.iterdir()} <= _SHARD_PARTS:
        raise CollectionError(
            f"{path} is in the way: it is not part of an index",
            hint="use an empty or new folder with --store",
        )
    shutil.rmtree(path)


@contextmanager
def translated_errors(folder: Path, *, hint: str | None = None) -> Iterator[None]:
    """What Qdrant Edge and the disk complain about, as a CollectionError.

    Qdrant Edge raises plain `Exception`s; a panic in it is a BaseException that can't be imported.
    """
    try:
        yield
    except OSError as error:
        raise _error(folder, str(error), hint) from error
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        raise _error(folder, str(error), hint) from error


def _error(folder: Path, complaint: str, hint: str | None) -> CollectionError:
    if "WouldBlock" in complaint:  # somebody opened the shard without our lock
        return CollectionBusy(str(folder), holder=UNKNOWN_HOLDER)
    if any(words in complaint for words in _FULL):
        return CollectionFull(f"no room left on the disk of {folder}", hint=NO_ROOM_HINT)
    what = complaint.replace("Service runtime error: ", "").splitlines()[0]
    return CollectionError(f"the index in {folder} can't be used: {what}", hint=hint)
