"""Values to payloads, and back; above all, paths."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alm2vec_search.collection.payload import folder_prefix, path_to_text, text_to_path

segments = st.binary(min_size=1, max_size=6).filter(lambda name: not {0, ord("/")} & set(name))
paths = st.lists(segments, max_size=4).map(lambda names: Path(os.fsdecode(b"/" + b"/".join(names))))


@given(paths)
def test_there_and_back(path: Path) -> None:
    text = path_to_text(path)
    assert text_to_path(text) == path
    assert json.loads(json.dumps(text).encode()) == text
    text.encode("utf-8")  # valid Unicode


@given(paths, paths)
def test_different_paths_have_different_texts(one: Path, other: Path) -> None:
    assert (path_to_text(one) == path_to_text(other)) == (one == other)


@given(paths, paths)
def test_prefix_is_below(folder: Path, path: Path) -> None:
    for candidate in (path, folder / path.relative_to("/")):
        text = path_to_text(candidate)
        is_under = text == path_to_text(folder) or text.startswith(folder_prefix(folder))
        assert is_under == candidate.is_relative_to(folder)


@pytest.mark.parametrize("name", ["a.wav", "café", "🎵", "line\nbreak", "\\x", "%00", "dce9"])
def test_most_paths_are_as_they_are(name: str) -> None:
    assert path_to_text(Path("/") / name) == f"/{name}"


def test_one_text_never_means_two_paths() -> None:
    """What an escape looks like can't be written in a path."""
    undecodable = Path(os.fsdecode(b"/\xe9"))
    assert path_to_text(undecodable) == "/\0dce9"
    with pytest.raises(ValueError, match="not a path"):
        path_to_text(Path("/\0dce9"))
