"""Models of a hub: what of them is on this machine, and fetching them.

huggingface_hub does the work, so that `HF_HOME`, `HF_HUB_OFFLINE`, `HF_TOKEN` and proxies are what
they are for transformers, and a model that transformers has fetched is not fetched again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alm2vec_search.errors import ModelError, ModelNotHere, one_line
from alm2vec_search.terminal import counted, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
# Never a pickle, and code only to be read: nothing of it runs unless that is asked for.
WANTED = ["*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "*.py", "LICENSE*", "README.md"]


@dataclass(frozen=True, slots=True)
class Repository:
    """A model of a hub, at a branch, tag or commit."""

    repo_id: str
    revision: str | None = None  # None is its main branch, as it was when it was fetched last

    @classmethod
    def parse(cls, name: str) -> Repository | None:
        """`owner/name`, or `owner/name@revision`; None for what isn't such a name.

        >>> Repository.parse("cara-ai/ALM2Vec-FT@v1")
        Repository(repo_id='cara-ai/ALM2Vec-FT', revision='v1')
        >>> Repository.parse("./model")
        """
        found = NAME.fullmatch(name)
        if found is None or found["repo"].startswith("."):
            return None
        return cls(found["repo"], found["revision"])

    def __str__(self) -> str:
        return self.repo_id if self.revision is None else f"{self.repo_id}@{self.revision}"

    def pinned(self, folder: Path) -> Repository:
        """The same at the commit that a snapshot's folder is called after."""
        return Repository(self.repo_id, folder.name)

    def local(self) -> Path:
        """The folder of what was fetched before.

        Raises:
            ModelNotHere: nothing was.
        """
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            return Path(
                snapshot_download(
                    self.repo_id,
                    revision=self.revision,
                    local_files_only=True,
                    allow_patterns=WANTED,
                )
            )
        except (LocalEntryNotFoundError, HFValidationError) as error:
            raise ModelNotHere(str(self)) from error

    def fetch(self, announce: Callable[[str], None]) -> Path:
        """Fetch what isn't here yet of the weights and what belongs to them; the folder of it.

        Files that an interrupted fetch left whole are not fetched again.

        Args:
            announce: is told how much there is to fetch, before it is.

        Raises:
            ModelError: there is no such model, it may not be fetched, or the way there is closed.
        """
        from huggingface_hub import constants, snapshot_download

        if constants.HF_HUB_OFFLINE:
            return self._fetched_before()
        said: dict[str, Any] = {"revision": self.revision, "allow_patterns": WANTED}
        quiet = _no_progress()
        try:
            files = snapshot_download(self.repo_id, dry_run=True, tqdm_class=quiet, **said)
            missing = [file for file in files if file.will_download]
            if missing:
                total = size(sum(file.file_size or 0 for file in missing))
                announce(f"fetching {self}: {counted(len(missing), 'file')}, {total}")
            bars = None if missing else quiet
            return Path(snapshot_download(self.repo_id, tqdm_class=bars, **said))
        except Exception as error:  # of three libraries, and of the operating system
            message, hint = self._explain(error)
            raise ModelError(message, hint=hint) from error

    def _fetched_before(self) -> Path:
        """Where there is no network, what is here has to do."""
        try:
            return self.local()
        except ModelNotHere as error:
            hint = "HF_HUB_OFFLINE is set: unset it to fetch it"
            raise ModelError(str(error), hint=hint) from error

    def _explain(self, error: Exception) -> tuple[str, str]:
        from huggingface_hub import errors

        if isinstance(error, errors.DryRunError) and isinstance(error.__cause__, Exception):
            error = error.__cause__  # which says more
        if isinstance(error, errors.GatedRepoError):
            return (
                f"{self} asks for its terms to be accepted",
                "accept them there, and set HF_TOKEN",
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return f"{self.repo_id} has no revision {self.revision}", "leave out @ for its newest"
        if isinstance(error, errors.RepositoryNotFoundError):
            return (
                f"there is no model {self.repo_id}",
                "check the name; a private one needs HF_TOKEN",
            )
        if isinstance(error, errors.HFValidationError):
            return f"{self.repo_id} is no name of a model", "a name looks like owner/model"
        return (
            f"{self} can't be fetched: {one_line(error)}",
            "check the network and the room on the disk; what was fetched is kept",
        )


def fetched() -> Iterator[tuple[Repository, Path]]:
    """The models that are on this machine, each snapshot of them, the newest first."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return
    for repo in sorted(cache.repos, key=lambda repo: repo.repo_id):
        if repo.repo_type == "model":
            for revision in sorted(
                repo.revisions, key=lambda found: (-found.last_modified, found.commit_hash)
            ):
                yield Repository(repo.repo_id, revision.commit_hash), Path(revision.snapshot_path)


def _no_progress() -> type[Any]:
    """For looking what there is to fetch: nothing is, meanwhile."""
    from huggingface_hub.utils.tqdm import tqdm

    class NoProgress(tqdm):
        def __init__(self, *said: Any, **options: Any) -> None:
            options["disable"] = True
            super().__init__(*said, **options)  # type: ignore[no-untyped-call]

    return NoProgress
