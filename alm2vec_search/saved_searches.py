"""Searches that were given a name, and what each of them has shown: a file beside the index."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from alm2vec_search.errors import QueryError
from alm2vec_search.search_request import SearchRequest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from alm2vec_search.domain import Hit

FILE = "searches.json"


class SavedSearch(BaseModel):
    """A search with what it has shown already."""

    model_config = ConfigDict(extra="forbid")

    request: SearchRequest
    seen: list[str] = []  # hashes of sounds

    def is_new(self, hit: Hit) -> bool:
        return _sound_of(hit) not in set(self.seen)

    def see(self, hits: Iterable[Hit]) -> None:
        self.seen = list(dict.fromkeys([*self.seen, *map(_sound_of, hits)]))


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int = 1
    searches: dict[str, SavedSearch] = {}


class SavedSearches:
    """The named searches of an index.

    Args:
        folder: of the index.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.searches = self._read()

    def named(self, name: str) -> SavedSearch:
        """
        Raises:
            QueryError: there is no such search.
        """
        if name not in self.searches:
            known = ", ".join(sorted(self.searches))
            hint = f"there are: {known}" if known else "alm2vec search ... --save NAME saves one"
            raise QueryError(f"no search is called {name}", hint=hint)
        return self.searches[name]

    def save(self, name: str, request: SearchRequest) -> None:
        """Under a name, in place of what had it.

        Raises:
            QueryError: it can't be written.
        """
        self.searches[name] = SavedSearch(request=request.from_anywhere())
        self.write()

    def forget(self, name: str) -> None:
        """
        Raises:
            QueryError: there is no such search, or the file can't be written.
        """
        self.named(name)
        del self.searches[name]
        self.write()

    def write(self) -> None:
        """All of it, or nothing.

        Raises:
            QueryError: it can't be written.
        """
        draft = self._path.with_suffix(".tmp")
        text = _File(searches=self.searches).model_dump_json(indent=1, exclude_defaults=True)
        try:
            draft.parent.mkdir(parents=True, exist_ok=True)  # there may be none beside a server
            with draft.open("w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise QueryError(
                f"{self._path} can't be written: {error.strerror}", hint="check who may write there"
            ) from error

    def _read(self) -> dict[str, SavedSearch]:
        try:
            return _File.model_validate_json(self._path.read_bytes()).searches
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise QueryError(
                f"{self._path} can't be read: {error.strerror}", hint="check who may read it"
            ) from error
        except ValidationError as error:
            raise QueryError(
                f"{self._path} is damaged, or of a later version of alm2vec",
                hint="put it back from a backup, or move it away",
            ) from error


def _sound_of(hit: Hit) -> str:
    """The same for the same sound, wherever it lies and whatever its tags are by now."""
    if hit.content is None:
        return str(hit.path)
    return hit.content.audio_hash or hit.content.content_hash
