"""The values of the contract."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from alm2vec_search.collection.base import CollectionInfo, SearchFilter, point_id
from alm2vec_search.domain import TimeSpan

INFO = CollectionInfo("3f2a90c1d4e5f607", "10s/10s", 1024, "small")


class TestPointId:
    def test_never_changes(self) -> None:
        """A value that is written into every collection."""
        pinned = uuid.UUID("002c76ed-e645-5458-aff4-5aac8da1a978")
        assert point_id("ab" * 32, TimeSpan(10, 20)) == pinned

    def test_names_content_and_span(self) -> None:
        spans = [TimeSpan(0, 10), TimeSpan(10, 20), TimeSpan(0, 20), TimeSpan(0, 9.999)]
        ids = {point_id(content, span) for content in ("a", "b") for span in spans}
        assert len(ids) == 8

    def test_is_blind_to_rounding_of_floats(self) -> None:
        assert point_id("a", TimeSpan(0.1 + 0.2, 1)) == point_id("a", TimeSpan(0.3, 1))


class TestCollectionInfo:
    @pytest.mark.parametrize(
        "other",
        [
            replace(INFO, fingerprint="9"),
            replace(INFO, chunking="10s/5s"),
            replace(INFO, embedding_dim=1),
        ],
    )
    def test_differs(self, other: CollectionInfo) -> None:
        assert other != INFO

    def test_a_renamed_model_is_still_itself(self) -> None:
        assert replace(INFO, model="/models/small") == INFO

    @pytest.mark.parametrize(
        ("chunking", "words"),
        [
            ("10s/10s", "10 s chunks every 10 s"),
            ("10s/2.5s", "10 s chunks every 2.5 s"),
            ("10s/10s/1s", "10s/10s/1s"),
        ],
    )
    def test_for_people(self, chunking: str, words: str) -> None:
        assert str(replace(INFO, chunking=chunking)) == f"model small (3f2a90c1…), {words}"

    def test_numeric_type_is_told_apart(self) -> None:
        told = str(replace(INFO, fingerprint="3f2a90c1d4e5f607-bfloat16"))
        assert told.startswith("model small (3f2a90c1… bfloat16), ")

    def test_short_fingerprint(self) -> None:
        assert str(replace(INFO, fingerprint="fake")).startswith("model small (fake), ")


class TestSearchFilter:
    def test_under_is_absolute(self) -> None:
        with pytest.raises(ValueError, match="not an absolute path: music"):
            SearchFilter(under=Path("music"))
        assert SearchFilter(under=Path("/")).under == Path("/")
