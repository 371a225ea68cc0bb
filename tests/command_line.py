"""The command `alm2vec`, called as a user does: words in, an exit code and two streams out."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from alm2vec_search.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Answer:
    exit_code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """Of JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class CommandLine:
    """Runs `main` in this process, so that the model's library is imported once."""

    def __init__(self, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        self._captured = capfdbinary

    def __call__(self, *words: str | Path) -> Answer:
        self._captured.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["alm2vec", *map(str, words)])
            with pytest.raises(SystemExit) as exit_:
                main()
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = self._captured.readouterr()
        code = exit_.value.code
        return Answer(
            code if isinstance(code, int) else 0 if code is None else 1,
            out.decode("utf-8", "surrogateescape"),
            err.decode("utf-8", "surrogateescape"),
        )
