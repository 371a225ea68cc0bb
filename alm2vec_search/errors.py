"""Every error this project raises on purpose.

    Alm2VecError
    ├── ConfigError                     a setting that can't be used
    ├── LibraryError                    a folder of audio that can't be walked
    ├── AudioError                      one file: becomes a line of the index report
    │   ├── DecodeError                 no decoder could read it
    │   └── EmptyAudio                  it was read, and there is no sound in it
    ├── ModelError                      a model that can't be loaded or used
    │   └── ModelNotHere                it is one of a hub, and was not fetched yet
    ├── CollectionError                 the store of vectors
    │   ├── CollectionNotFound          nothing was indexed yet
    │   ├── IncompatibleCollection      its vectors were made by another model or chunking
    │   ├── CollectionBusy              another process has it open
    │   ├── CollectionFull              no room left on its disk
    │   └── CollectionUnavailable       its server can't be reached, or lets nobody in
    ├── QueryError                      a question that can't be asked
    │   └── WhereError                  a condition that can't be understood, and where in it
    ├── ServingError                    a request that can't be met
    │   ├── AccessDenied                by whoever sent it
    │   ├── ServerBusy                  now
    │   ├── TooSlow                     in the time there is for one
    │   └── SoundNotFound               at all: there is no such sound here
    ├── MediaError                      an indexed sound that can't be listened to
    │   ├── SoundGone                   its file is gone, or was changed since it was indexed
    │   └── SoundForbidden              its file is a link that leads out of the libraries
    ├── UploadError                     a sound sent to the server that can't be used
    │   ├── UploadTooLarge              it has too many bytes
    │   ├── UploadTooLong               it lasts too long
    │   ├── UploadUnreadable            there is no sound in it that could be decoded
    │   ├── UploadTimedOut              decoding it took too long
    │   └── UploadsBusy                 too many are being decoded at the moment
    ├── TrainingError                   a training run that can't start, or can't go on
    │   └── PairError                   a line of a file of pairs
    └── EvaluationError                 a measurement that can't be made, or reported

An error says what happened (`str(error)`), to what (its fields), and what to do about it (`hint`).
"""

from __future__ import annotations

from textwrap import shorten
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


SHOWN_BEFORE, SHOWN_AFTER = 60, 20  # characters of a condition, around what is wrong with it


class Alm2VecError(Exception):
    """Base of all errors that are shown without a traceback.

    Args:
        message: what happened, one line, naming the thing it happened to.
        hint: what the user can do about it, one line.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes whole, whatever their constructors take."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[Alm2VecError], args: tuple[Any, ...], fields: dict[str, Any]) -> Any:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error


class ConfigError(Alm2VecError):
    """A setting, or the file that holds it, can't be used."""


class LibraryError(Alm2VecError):
    """A folder of audio can't be walked."""

    def __init__(self, path: Path, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{path}: {reason}", hint=hint)
        self.path = path
        self.reason = reason


class AudioError(Alm2VecError):
    """One audio file can't be used. `reason` alone is what reports show beside the path."""

    def __init__(self, path: Path, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{path}: {reason}", hint=hint)
        self.path = path
        self.reason = reason


class DecodeError(AudioError):
    """No decoder could read the file."""


class EmptyAudio(AudioError):
    """The file was read, and there is no sound in it."""


class ModelError(Alm2VecError):
    """A model can't be loaded, or can't do what was asked of it."""


class ModelNotHere(ModelError):
    """A model of a hub that was not fetched yet."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"{model} isn't on this machine", hint=f"alm2vec model pull {model} fetches it"
        )
        self.model = model


class CollectionError(Alm2VecError):
    """The store of vectors can't be used."""


class CollectionNotFound(CollectionError):
    """Nothing was indexed here yet."""

    def __init__(self, store: str) -> None:
        super().__init__(f"no index in {store}", hint="alm2vec index FOLDER makes one")
        self.store = store


class IncompatibleCollection(CollectionError):
    """The vectors in the store were made by something other than what is asking now."""

    def __init__(self, store: str, *, expected: str, found: str, hint: str) -> None:
        super().__init__(f"the index in {store} was made by {found}, not by {expected}", hint=hint)
        self.store = store
        self.expected = expected
        self.found = found


class CollectionBusy(CollectionError):
    """Another process has the store open. `holder` says which, as far as is known."""

    def __init__(self, store: str, *, holder: str) -> None:
        super().__init__(
            f"the index in {store} is in use by {holder}",
            hint="wait until it is done, or stop it; or use another index with --store",
        )
        self.store = store
        self.holder = holder


class CollectionFull(CollectionError):
    """The disk under the store has no room left."""


class CollectionUnavailable(CollectionError):
    """The server that has the store can't be used now. Nothing that was stored is lost."""

    def __init__(self, url: str, reason: str, *, hint: str) -> None:
        super().__init__(f"the Qdrant server at {url} {reason}", hint=hint)
        self.url = url
        self.reason = reason


class QueryError(Alm2VecError):
    """A question that can't be asked: empty, or with a sound that can't be read."""


class WhereError(QueryError):
    """A condition can't be understood. `column` says where, from 1.

    Its message has three lines: what is wrong, the condition, and a mark below the place.
    """

    def __init__(self, what: str, text: str, *, column: int, hint: str | None = None) -> None:
        start = max(0, column - 1 - SHOWN_BEFORE)
        shown = "".join(c if c.isprintable() else " " for c in text[start : column + SHOWN_AFTER])
        mark = " " * (column - 1 - start) + "^"
        super().__init__(
            f"in the condition: {what} (column {column})\n  {shown}\n  {mark}", hint=hint
        )
        self.what = what
        self.column = column


class ServingError(Alm2VecError):
    """A request that can't be met."""


class AccessDenied(ServingError):
    """Whoever sent the request may not."""


class ServerBusy(ServingError):
    """Too many requests are waiting already."""


class TooSlow(ServingError):
    """The request took longer than one may."""


class SoundNotFound(ServingError):
    """No sound has this id."""


def one_line(error: Exception) -> str:
    r"""What another library's error says, short enough for a message of ours.

    >>> one_line(ValueError("many\n  lines"))
    'many lines'
    """
    return shorten(str(error) or type(error).__name__, width=200, placeholder=" …")


class MediaError(Alm2VecError):
    """An indexed sound can't be listened to."""


class SoundGone(MediaError):
    """A file isn't there any more, or isn't what was indexed."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path}: {reason}", hint="alm2vec index brings the index up to date with its libraries"
        )
        self.path = path
        self.reason = reason


class SoundForbidden(MediaError):
    """A file lies elsewhere by now than in the libraries. Where is not said."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: it is a link that leads out of the indexed libraries",
            hint="index the folder that it leads to, too",
        )
        self.path = path


class UploadError(Alm2VecError):
    """A sound that was sent to the server can't be used."""


class UploadTooLarge(UploadError):
    """An upload has more bytes than are taken."""

    def __init__(self, *, most_bytes: int) -> None:
        super().__init__(
            f"the upload has more than {most_bytes} bytes",
            hint="send a shorter stretch of it, or pack it, as FLAC or Opus say",
        )
        self.most_bytes = most_bytes


class UploadTooLong(UploadError):
    """An upload lasts longer than is taken."""

    def __init__(self, *, most_s: float) -> None:
        super().__init__(f"the upload lasts more than {most_s:g} s", hint="send a stretch of it")
        self.most_s = most_s


class UploadUnreadable(UploadError):
    """There is no sound in an upload that could be decoded."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the upload can't be used: {reason}",
            hint="send a file with sound in it: WAV, FLAC, MP3, Ogg, M4A ...",
        )
        self.reason = reason


class UploadTimedOut(UploadError):
    """Decoding an upload took longer than it may."""

    def __init__(self) -> None:
        super().__init__(
            "decoding the upload took too long", hint="send a shorter stretch of it, or a plain WAV"
        )


class UploadsBusy(UploadError):
    """As many uploads as may be are being decoded. Worth another try in a moment."""

    def __init__(self) -> None:
        super().__init__(
            "too many uploads are being decoded at the moment", hint="try again in a few seconds"
        )


class TrainingError(Alm2VecError):
    """A training run can't start, or can't go on."""


class PairError(TrainingError):
    """A line of a file of pairs can't be used."""

    def __init__(self, message: str, *, file: Path, line: int, hint: str | None = None) -> None:
        super().__init__(f"{file}:{line}: {message}", hint=hint)
        self.file = file
        self.line = line


class EvaluationError(Alm2VecError):
    """A measurement can't be made, or a run of one can't be read or reported."""
