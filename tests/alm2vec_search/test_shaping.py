"""From a ranking to a list: what is shown of it, and at which places."""

from __future__ import annotations

from pathlib import Path

import pytest

from alm2vec_search.collection.base import Match
from alm2vec_search.domain import Content, Place, TimeSpan
from alm2vec_search.shaping import Shape, shaped, with_copies, without_overlaps

LIBRARY = Path("/music")


def a_match(
    *paths: str, span: tuple[float, float] = (0, 10), score: float = 0.5, audio_hash: str = ""
) -> Match:
    """A chunk of a content that is called as its first path."""
    content = Content(paths[0], 1000, 60.0, 44_100, 2, audio_hash=audio_hash)
    places = tuple(Place(LIBRARY / path, LIBRARY, 0) for path in paths)
    return Match(content, places, TimeSpan(*span), score, silent=False)


def paths(match: Match) -> list[str]:
    return [place.relative_path for place in match.places]


def names(matches: list[Match]) -> list[str]:
    return [match.content_hash for match in matches]


def stretches(matches: list[Match]) -> list[tuple[str, float, float]]:
    spans = [(match.content_hash, match.stretch or match.span) for match in matches]
    return [(name, span.start_s, span.end_s) for name, span in spans]


class TestCopies:
    def test_the_same_samples_are_shown_once_with_all_their_places(self) -> None:
        ranked = [
            a_match("a.wav", "b.wav", score=0.9, audio_hash="x"),
            a_match("other.wav", score=0.8, audio_hash="y"),
            a_match("a.flac", score=0.7, audio_hash="x"),
        ]
        best, other = with_copies(ranked)
        assert (best.content_hash, best.score) == ("a.wav", 0.9)
        assert paths(best) == ["a.wav", "b.wav", "a.flac"]
        assert other == ranked[1]

    def test_a_place_comes_once(self) -> None:
        ranked = [a_match("a.wav", audio_hash="x"), a_match("b.wav", "a.wav", audio_hash="x")]
        (match,) = with_copies(ranked)
        assert paths(match) == ["a.wav", "b.wav"]

    def test_other_stretches_of_the_same_samples_stay(self) -> None:
        ranked = [a_match("a.wav", audio_hash="x"), a_match("b.wav", span=(10, 20), audio_hash="x")]
        assert with_copies(ranked) == ranked

    def test_where_samples_are_not_known_each_content_is_its_own(self) -> None:
        ranked = [a_match("a.wav"), a_match("b.wav"), a_match("c.wav", audio_hash="x")]
        assert with_copies(ranked) == ranked


class TestOverlaps:
    def test_overlapping_chunks_are_one_stretch_as_good_as_the_best(self) -> None:
        ranked = [a_match("a", span=(5, 15), score=0.9), a_match("a", span=(0, 10), score=0.6)]
        (match,) = without_overlaps(ranked)
        assert (match.stretch, match.span, match.score) == (TimeSpan(0, 15), TimeSpan(5, 15), 0.9)

    def test_a_chain_is_one_stretch(self) -> None:
        ranked = [a_match("a", span=(start, start + 10)) for start in (10, 5, 15, 0, 20)]
        assert stretches(without_overlaps(ranked)) == [("a", 0, 30)]

    def test_a_bridge_joins_what_was_apart(self) -> None:
        ranked = [a_match("a", span=span) for span in ((0, 10), (10, 20), (5, 15))]
        assert stretches(without_overlaps(ranked)) == [("a", 0, 20)]

    def test_chunks_that_touch_stay_two(self) -> None:
        ranked = [a_match("a", span=(0, 10)), a_match("a", span=(10, 20))]
        assert without_overlaps(ranked) == ranked

    def test_chunks_of_other_files_stay_two(self) -> None:
        ranked = [a_match("a"), a_match("b")]
        assert without_overlaps(ranked) == ranked

    def test_what_overlaps_nothing_has_no_stretch(self) -> None:
        ranked = [a_match("a"), a_match("a", span=(30, 40)), a_match("a", span=(35, 45))]
        alone, merged = without_overlaps(ranked)
        assert (alone.stretch, merged.stretch) == (None, TimeSpan(30, 45))


class TestShape:
    def test_the_same_samples_at_other_stretches_are_one_file(self) -> None:
        ranked = [
            a_match("a", span=(0, 10), audio_hash="s"),
            a_match("b", span=(10, 20), audio_hash="s"),
        ]
        assert names(shaped(ranked, Shape())) == ["a"]

    def test_a_file_is_shown_once_at_its_best(self) -> None:
        ranked = [
            a_match("a", span=(20, 30), score=0.9),
            a_match("b", score=0.8),
            a_match("a", span=(0, 10), score=0.7),
        ]
        assert shaped(ranked, Shape()) == ranked[:2]

    def test_all_chunks(self) -> None:
        ranked = [a_match("a", span=span) for span in [(20, 30), (0, 10), (5, 15)]]
        found = shaped(ranked, Shape(all_chunks=True))
        assert stretches(found) == [("a", 20, 30), ("a", 0, 15)]

    @pytest.mark.parametrize("all_chunks", [False, True])
    def test_copies_join_in_every_shape(self, all_chunks: bool) -> None:
        ranked = [a_match("a.wav", audio_hash="x"), a_match("a.flac", audio_hash="x")]
        (match,) = shaped(ranked, Shape(all_chunks=all_chunks))
        assert paths(match) == ["a.wav", "a.flac"]

    @pytest.mark.parametrize(
        ("per_folder", "shown"),
        [
            (None, ["x/1", "x/2", "y/1", "x/deep/1", "x/3", "y/2"]),
            (2, ["x/1", "x/2", "y/1", "x/deep/1", "y/2"]),
            (1, ["x/1", "y/1", "x/deep/1"]),
        ],
    )
    def test_answers_of_one_folder(self, per_folder: int | None, shown: list[str]) -> None:
        ranked = [a_match(path) for path in ("x/1", "x/2", "y/1", "x/deep/1", "x/3", "y/2")]
        assert names(shaped(ranked, Shape(per_folder=per_folder))) == shown

    def test_a_folder_counts_by_what_is_shown(self) -> None:
        ranked = [a_match("x/1"), a_match("x/1", span=(10, 20)), a_match("x/2"), a_match("x/3")]
        assert names(shaped(ranked, Shape(per_folder=2))) == ["x/1", "x/2"]

    def test_a_copy_in_another_folder_does_not_count_there(self) -> None:
        ranked = [a_match("x/1", audio_hash="s"), a_match("y/1", audio_hash="s"), a_match("y/2")]
        assert names(shaped(ranked, Shape(per_folder=1))) == ["x/1", "y/2"]
