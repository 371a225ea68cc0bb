"""`FILE@START-END`: how a region is written, and what is merely a name with an @ in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from index_driver import write_tone

from alm2vec_search.domain import TimeSpan
from alm2vec_search.errors import QueryError
from alm2vec_search.query_audio import load_like, parse_like


@pytest.mark.parametrize(
    ("text", "path", "span"),
    [
        ("a.wav", "a.wav", None),
        ("a.wav@2.5-4.0", "a.wav", TimeSpan(2.5, 4)),
        ("a.wav@0-.5", "a.wav", TimeSpan(0, 0.5)),
        ("me@home.wav", "me@home.wav", None),
        ("me@home.wav@1-2", "me@home.wav", TimeSpan(1, 2)),
        ("a.wav@1", "a.wav@1", None),
        ("a.wav@-1-2", "a.wav@-1-2", None),
        ("a\nb.wav@1-2", "a\nb.wav", TimeSpan(1, 2)),
    ],
)
def test_regions(text: str, path: str, span: TimeSpan | None) -> None:
    assert parse_like(text) == (Path(path), span)


def test_a_file_of_that_very_name_wins(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "take@1-2")
    assert parse_like(str(path)) == (path, None)


@pytest.mark.parametrize("text", ["a.wav@4-2", "a.wav@2-2"])
def test_a_region_that_is_none(text: str) -> None:
    with pytest.raises(QueryError, match="ends before it begins"):
        parse_like(text)


def test_a_region_is_as_long_as_it_says(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "x.wav", duration_s=3)
    assert load_like(f"{path}@0.5-2", 16_000).duration_s == pytest.approx(1.5)
    assert load_like(f"{path}@2-99", 16_000).duration_s == pytest.approx(1.0)
    with pytest.raises(QueryError, match=r"it is 3\.0 s long, and the region begins at 5\.0 s"):
        load_like(f"{path}@5-6", 16_000)
