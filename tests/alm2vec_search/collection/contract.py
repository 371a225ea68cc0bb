"""What every collection has to do, whichever Qdrant is behind it.

A test module subclasses `CollectionContract` and gives it a fixture:

    class TestMine(CollectionContract):
        @pytest.fixture
        def collection(self) -> Iterator[Collection]: ...  # empty, made with `INFO`
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alm2vec_search.collection.base import CollectionInfo, SearchFilter, StoredContent
from alm2vec_search.conditions import (
    And,
    Condition,
    Interval,
    Manner,
    NamedField,
    Not,
    NumberField,
    Or,
    Says,
    Within,
    WordField,
    fold,
    holds,
)
from alm2vec_search.domain import Aspect, Content, EmbeddedChunk, Notes, Place, TimeSpan
from alm2vec_search.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from alm2vec_search.collection.base import Collection, Match
    from alm2vec_search.domain import Embedding, Embeddings

DIM = 8
INFO = CollectionInfo(
    fingerprint="3f2a90c1d4e5f607", chunking="10s/10s", embedding_dim=DIM, model="small"
)
LIBRARY = Path("/home/ana/music")
SPEAKER = Aspect("speaker", "who is speaking?")
EVERYTHING = SearchFilter(include_silent=True)


def a_hash(number: int) -> str:
    return f"{number:064x}"


def a_content(number: int = 0) -> Content:
    return Content(
        content_hash=a_hash(number),
        size=1000 + number,
        duration_s=12.25,
        sampling_rate=44_100,
        channels=2,
    )


def a_place(path: str | Path = LIBRARY / "a.wav") -> Place:
    return Place(path=Path(path), library=LIBRARY, mtime_ns=1_700_000_000_123_456_789)


def unit_vectors(n: int, seed: int = 0, dim: int = DIM) -> Embeddings:
    """Random directions, float32 [n, dim]."""
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    unit: Embeddings = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def axis(index: int) -> Embedding:
    """A vector along one axis: chunks along different ones have score 0 to each other."""
    vector: Embedding = np.eye(DIM, dtype=np.float32)[index]
    return vector


def chunks_of(vectors: Iterable[Embedding], *, silent: bool = False) -> list[EmbeddedChunk]:
    """One chunk of 10 s after the other."""
    return [
        EmbeddedChunk(TimeSpan(10.0 * index, 10.0 * index + 10), vector, silent=silent)
        for index, vector in enumerate(vectors)
    ]


def put(
    collection: Collection,
    number: int,
    vectors: Iterable[Embedding],
    *,
    paths: Sequence[str | Path] = (LIBRARY / "a.wav",),
    silent: bool = False,
) -> None:
    places = [a_place(path) for path in paths]
    collection.upsert(a_content(number), places, chunks_of(vectors, silent=silent))


def keys(matches: Iterable[Match]) -> list[tuple[int, float]]:
    """Content number and start of each, in order."""
    return [(int(match.content_hash, 16), match.span.start_s) for match in matches]


def found_under(collection: Collection, under: str | Path) -> set[int]:
    where = SearchFilter(under=Path(under))
    return {number for number, _ in keys(collection.nearest(axis(0), limit=100, where=where))}


# Contents that differ in all that a condition may ask for, and the conditions that ask.

FOLDERS = ("Field", "field/Rain", "drums", "Ärger", os.fsdecode(b"caf\xe9"))
FILES = ("Kick_01.WAV", "rain.wav", "Rain [wet].flac", "a=b.mp3", "no suffix", "kick.wav.bak")
TAGS = ("Rain", "heavy rain", "kick", "ÄRGER", "100%", "a=b", 'quo"te')
ARTISTS = ("Ana", "ana maria", "*", "")


def varied_contents(n: int) -> list[tuple[Content, list[Place], list[EmbeddedChunk]]]:
    chance = random.Random(0)

    def notes() -> Notes:
        named = [("artist", chance.choice(ARTISTS))] if chance.random() < 0.5 else []
        return Notes(tuple(chance.sample(TAGS, chance.randrange(3))), tuple(named))

    def place() -> Place:
        library = chance.choice([LIBRARY, Path("/mnt/Sounds")])
        path = library / chance.choice(FOLDERS) / chance.choice(FILES)
        return Place(path, library, chance.randrange(10) * 1_000_000_000, notes())

    varied = []
    for number in range(n):
        content = Content(
            content_hash=a_hash(number),
            size=chance.choice([1000, 2000, 3000]),
            duration_s=chance.choice([0.5, 3.0, 0.1 + 0.2, 600.0]),
            sampling_rate=chance.choice([8000, 44_100, 48_000]),
            channels=chance.choice([1, 2, 6]),
            notes=notes(),
        )
        places = list(
            {p.path: p for p in (place() for _ in range(chance.choice([1, 1, 2])))}.values()
        )
        varied.append((content, places, chunks_of(unit_vectors(chance.choice([1, 2]), number))))
    return varied


def _pieces(texts: Sequence[str]) -> st.SearchStrategy[str]:
    """A text, a part of one, or a pattern of one."""
    whole = st.sampled_from([fold(text) for text in texts if text])
    part = st.builds(lambda t, a, b: t[a : a + b] or t, whole, st.integers(0, 5), st.integers(1, 6))
    pattern = st.builds(
        lambda t, a, star: f"{t[:a]}{star}{t[a + 1 :]}",
        whole,
        st.integers(0, 6),
        st.sampled_from(["*", "?", "**", "?*"]),
    )
    return st.one_of(whole, part, part.map(lambda t: f"*{t}*"), pattern)


FIELDS: dict[WordField | NamedField, Sequence[str]] = {
    WordField.PATH: [f"{folder}/{file}" for folder in FOLDERS for file in FILES],
    WordField.NAME: FILES,
    WordField.EXT: ("wav", "flac", "bak", "mp3"),
    WordField.LIBRARY: (str(LIBRARY), "/mnt/Sounds"),
    WordField.TAG: TAGS,
    NamedField("artist"): ARTISTS,
    NamedField("nothing"): ARTISTS,
}
LIMITS = st.one_of(
    st.none(), st.sampled_from([0.3, 0.1 + 0.2, 0.5, 1, 2, 3, 5, 10, 2000, 44_100, 600])
)
COMPARISONS: st.SearchStrategy[Condition] = st.one_of(
    st.builds(Within, st.sampled_from(NumberField), st.builds(Interval, LIMITS, LIMITS, LIMITS)),
    st.sampled_from(list(FIELDS)).flatmap(
        lambda field: st.builds(
            Says, st.just(field), st.sampled_from(Manner), _pieces(FIELDS[field])
        )
    ),
)
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    COMPARISONS,
    lambda parts: st.one_of(
        parts.map(Not),
        st.lists(parts, min_size=2, max_size=3).map(lambda some: And(tuple(some))),
        st.lists(parts, min_size=2, max_size=3).map(lambda some: Or(tuple(some))),
    ),
    max_leaves=6,
)


class CollectionContract:
    STEMS = True  # "dogs" is found by "dog"; not by Qdrant's local mode
    ADDS_VECTORS = True  # to points that are there, for aspects

    # Putting in

    def test_new_one_is_empty(self, collection: Collection) -> None:
        assert collection.info == INFO
        assert collection.info.model == INFO.model
        assert collection.count() == 0
        assert collection.nearest(axis(0), limit=5) == []
        assert collection.nearest_contents(axis(0), limit=5) == []
        assert list(collection.contents()) == []

    def test_what_goes_in_comes_out(self, collection: Collection) -> None:
        places = (a_place("/home/ana/music/a.wav"), a_place("/mnt/copy of a.wav"))
        span = TimeSpan(0.1 + 0.2, 12.25)
        collection.upsert(a_content(7), places, [EmbeddedChunk(span, axis(3), silent=True)])
        [match] = collection.nearest(axis(3), limit=5, where=EVERYTHING)
        assert match.content_hash == a_hash(7)
        assert set(match.places) == set(places)
        assert match.span == span
        assert match.score == pytest.approx(1)
        assert match.silent is True
        [stored] = collection.contents()
        assert stored.content == a_content(7)
        assert set(stored.places) == set(places)
        assert stored.n_chunks == 1
        assert stored.is_complete

    def test_doing_it_twice_changes_nothing(self, collection: Collection) -> None:
        for _ in range(2):
            put(collection, 1, unit_vectors(5))
        assert collection.count() == 5
        assert len(collection.nearest(axis(0), limit=10)) == 5

    def test_the_same_span_is_replaced(self, collection: Collection) -> None:
        put(collection, 1, [axis(0), axis(1)])
        put(collection, 1, [axis(2), axis(1)], paths=["/elsewhere.wav"])
        assert collection.count() == 2
        assert [match.score for match in collection.nearest(axis(0), limit=2)] == [0, 0]
        [stored] = collection.contents()
        assert stored.places == (a_place("/elsewhere.wav"),)

    def test_long_file(self, collection: Collection) -> None:
        vectors = unit_vectors(450)
        put(collection, 1, vectors)
        assert collection.count() == 450
        [stored] = collection.contents()
        assert (stored.n_chunks, stored.is_complete) == (450, True)
        for index in (0, 199, 200, 449):
            assert keys(collection.nearest(vectors[index], limit=1)) == [(1, 10.0 * index)]

    def test_rows_and_columns_of_arrays(self, collection: Collection) -> None:
        columns = np.ascontiguousarray(unit_vectors(4).astype(np.float64).T)  # [dim, n]
        put(collection, 1, columns.T)
        assert keys(collection.nearest(columns.T[2], limit=1)) == [(1, 20.0)]

    def test_no_chunks(self, collection: Collection) -> None:
        put(collection, 1, [])
        assert collection.count() == 0
        assert list(collection.contents()) == []

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, collection: Collection, bad: float) -> None:
        vectors = unit_vectors(300)
        vectors[-1, 2] = bad
        with pytest.raises(ValueError, match="not finite"):
            put(collection, 1, vectors)
        with pytest.raises(ValueError, match="not finite"):
            collection.nearest(vectors[-1], limit=1)
        assert collection.count() == 0

    @pytest.mark.parametrize("shape", [(DIM + 1,), (DIM - 1,), (0,), (1, DIM)])
    def test_wrong_dimension(self, collection: Collection, shape: tuple[int, ...]) -> None:
        bad = np.ones(shape, np.float32)
        with pytest.raises(ValueError, match=f"not a vector of {DIM} numbers"):
            put(collection, 1, [*unit_vectors(300), bad])
        with pytest.raises(ValueError, match=f"not a vector of {DIM} numbers"):
            collection.nearest(bad, limit=1)
        assert collection.count() == 0

    def test_no_places(self, collection: Collection) -> None:
        with pytest.raises(ValueError, match="no places"):
            put(collection, 1, [axis(0)], paths=[])
        with pytest.raises(ValueError, match="no places"):
            collection.set_places(a_hash(1), [])
        assert collection.count() == 0

    # Searching

    def test_nearest_is_what_brute_force_finds(self, collection: Collection) -> None:
        vectors = unit_vectors(300, seed=1)
        for number in range(30):
            put(collection, number, vectors[number * 10 : number * 10 + 10])
        for query in unit_vectors(5, seed=2):
            scores = vectors @ query  # [300]
            best = np.argsort(-scores)[:20]
            matches = collection.nearest(query, limit=20)
            assert keys(matches) == [(i // 10, 10.0 * (i % 10)) for i in best]
            np.testing.assert_allclose([m.score for m in matches], scores[best], atol=1e-6)

    def test_nearest_contents_is_what_brute_force_finds(self, collection: Collection) -> None:
        vectors = unit_vectors(300, seed=3)
        for number in range(30):
            put(collection, number, vectors[number * 10 : number * 10 + 10])
        for query in unit_vectors(5, seed=4):
            scores = (vectors @ query).reshape(30, 10)  # [content, chunk]
            best = np.argsort(-scores.max(axis=1))
            expected = [(number, 10.0 * int(scores[number].argmax())) for number in best]
            for limit in (1, 7, 30, 31):
                assert keys(collection.nearest_contents(query, limit=limit)) == expected[:limit]

    def test_one_long_file_does_not_hide_the_others(self, collection: Collection) -> None:
        near = unit_vectors(400, seed=5) * 0.01 + axis(0)
        put(collection, 1, near / np.linalg.norm(near, axis=1, keepdims=True))
        put(collection, 2, [axis(1)])
        put(collection, 3, [-axis(0)])
        found = collection.nearest_contents(axis(0), limit=3)
        assert [number for number, _ in keys(found)] == [1, 2, 3]

    def test_limit(self, collection: Collection) -> None:
        put(collection, 1, unit_vectors(10))
        for search in (collection.nearest, collection.nearest_contents):
            for bad in (0, -1):
                with pytest.raises(ValueError, match="not a limit"):
                    search(axis(0), limit=bad)
        assert len(collection.nearest(axis(0), limit=3)) == 3
        assert len(collection.nearest(axis(0), limit=10**12)) == 10
        assert len(collection.nearest_contents(axis(0), limit=10**12)) == 1

    @pytest.mark.parametrize("seed", range(3))
    def test_ties_do_not_depend_on_order_of_arrival(
        self, collection: Collection, seed: int
    ) -> None:
        numbers = list(range(40))
        random.Random(seed).shuffle(numbers)
        for number in numbers:
            put(collection, number, [axis(0), axis(1), axis(0)])
        expected = [(number, start_s) for number in range(40) for start_s in (0.0, 20.0)]
        for limit in (1, 2, 3, 17, 80):
            assert keys(collection.nearest(axis(0), limit=limit)) == expected[:limit]
        for limit in (1, 5, 40):
            found = keys(collection.nearest_contents(axis(0), limit=limit))
            assert found == [(number, 0.0) for number in range(limit)]

    def test_the_first_of_many_equal_chunks_stands_for_its_content(
        self, collection: Collection
    ) -> None:
        for number in (1, 2, 3):
            chunks = chunks_of([axis(number)] * 12)
            collection.upsert(a_content(number), [a_place()], chunks[::-1])
        found = collection.nearest_contents(axis(2) + 0.5 * axis(1), limit=2)
        assert keys(found) == [(2, 0.0), (1, 0.0)]

    def test_scores_are_cosines(self, collection: Collection) -> None:
        put(collection, 1, unit_vectors(60))
        for vector in unit_vectors(60):
            scores = [match.score for match in collection.nearest(vector, limit=60)]
            assert scores[0] == pytest.approx(1)
            assert max(scores) <= 1
            assert min(scores) >= -1

    # Filters

    def test_silence_is_left_out(self, collection: Collection) -> None:
        put(collection, 1, [axis(0)], silent=True)
        put(collection, 2, [axis(1)])
        for where in (None, SearchFilter()):
            assert keys(collection.nearest(axis(0), limit=5, where=where)) == [(2, 0.0)]
            assert keys(collection.nearest_contents(axis(0), limit=5, where=where)) == [(2, 0.0)]
        loud_and_silent = collection.nearest(axis(0), limit=5, where=EVERYTHING)
        assert [match.silent for match in loud_and_silent] == [True, False]

    def test_under(self, collection: Collection) -> None:
        paths = ["/a/b/x.wav", "/a/b/c/y.wav", "/a/bc/x.wav", "/a/b.wav", "/A/b/x.wav", "/a/b%/x"]
        for number, path in enumerate(paths):
            put(collection, number, [axis(0)], paths=[path])
        expected = {
            "/": {0, 1, 2, 3, 4, 5},
            "/a": {0, 1, 2, 3, 5},
            "/a/b": {0, 1},
            "/a/b/": {0, 1},
            "/a/b/c": {1},
            "/a/b/x.wav": {0},
            "/a/b/x": set(),
            "/a/b.wav": {3},
            "/a/b%": {5},
            "/b": set(),
            "/nowhere": set(),
        }
        assert {under: found_under(collection, under) for under in expected} == expected

    def test_under_looks_at_every_place_and_tells_of_those_below(
        self, collection: Collection
    ) -> None:
        put(collection, 1, [axis(0)], paths=["/a/x.wav", "/b/x.wav"])
        put(collection, 2, [axis(1)], paths=["/c/x.wav"])
        assert found_under(collection, "/a") == {1}
        assert found_under(collection, "/b") == {1}
        [match] = collection.nearest(axis(0), limit=1, where=SearchFilter(under=Path("/b")))
        assert [str(place.path) for place in match.places] == ["/b/x.wav"]
        [match] = collection.nearest(axis(0), limit=1)
        assert [str(place.path) for place in match.places] == ["/a/x.wav", "/b/x.wav"]

    @settings(
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,  # filled once, and only read after that
            HealthCheck.differing_executors,  # each subclass runs it with its own collection
        ],
        deadline=None,
    )
    @given(condition=CONDITIONS)
    def test_a_condition_finds_what_it_holds_for(
        self, collection: Collection, condition: Condition
    ) -> None:
        varied = varied_contents(30)
        if not collection.count():
            for content, places, chunks in varied:
                collection.upsert(content, places, chunks)
        expected = {
            (content.content_hash, chunk.span, place)
            for content, places, chunks in varied
            for chunk in chunks
            for place in places
            if holds(condition, content, place, chunk.span)
        }
        matches = collection.nearest(axis(0), limit=100, where=SearchFilter(condition=condition))
        found = {
            (match.content_hash, match.span, place) for match in matches for place in match.places
        }
        assert found == expected

    def test_a_condition_after_the_places_changed(self, collection: Collection) -> None:
        put(collection, 1, [axis(0)])
        wet = SearchFilter(condition=Says(WordField.TAG, Manner.PATTERN, "wet"))
        assert collection.nearest(axis(0), limit=5, where=wet) == []
        here = Place(LIBRARY / "b.wav", LIBRARY, 5, Notes(("Wet",), (("take", "3"),)))
        collection.set_places(a_hash(1), [here])
        [match] = collection.nearest(axis(0), limit=5, where=wet)
        assert match.places == (here,)
        assert match.content == a_content(1)

    def test_a_rare_condition_is_found_behind_many_near_ones(self, collection: Collection) -> None:
        for number in range(60):
            put(collection, number, [axis(0)], paths=[f"{LIBRARY}/a{number}.wav"])
        put(collection, 99, [axis(1)], paths=[f"{LIBRARY}/b.wav"])
        pattern = Says(WordField.NAME, Manner.PATTERN, "?.wav")
        [match] = collection.nearest(axis(0), limit=1, where=SearchFilter(condition=pattern))
        assert match.content_hash == a_hash(99)

    # Words

    def test_words_are_found_in_names_tags_and_notes(self, collection: Collection) -> None:
        said = {
            1: Place(LIBRARY / "DogBarking-02.wav", LIBRARY, 0),
            2: Place(LIBRARY / "x.wav", LIBRARY, 0, Notes(("barking dog",))),
            3: Place(LIBRARY / "y.wav", LIBRARY, 0, Notes((), (("artist", "Ana Dog"),))),
            4: Place(LIBRARY / "dogma.wav", LIBRARY, 0),
        }
        for number, place in said.items():
            collection.upsert(a_content(number), [place], chunks_of(unit_vectors(2, number)))
        assert {int(m.content_hash, 16) for m in collection.by_words("dog", limit=9)} == {1, 2, 3}
        best = collection.by_words("barking dog", limit=9)
        assert {int(match.content_hash, 16) for match in best[:2]} == {1, 2}
        assert all(match.score > 0 for match in best)
        assert len(collection.by_words("dog", limit=2)) == 2
        assert collection.by_words("zebra", limit=9) == []
        assert collection.by_words("", limit=9) == []
        only = SearchFilter(condition=Says(WordField.NAME, Manner.PATTERN, "x.*"))
        assert keys(collection.by_words("dog", limit=9, where=only)) == [(2, 0.0)]

    def test_words_are_found_by_their_stems(self, collection: Collection) -> None:
        if not self.STEMS:
            pytest.skip("stems are the server's own")
        for number, name in enumerate(["DogBarking", "barked dogs", "cat"]):
            put(collection, number, [axis(number)], paths=[LIBRARY / f"{name}.wav"])
        found = collection.by_words("a dog barks", limit=9)
        assert {int(match.content_hash, 16) for match in found} == {0, 1}

    def test_the_folder_counts_among_the_words_and_the_library_does_not(
        self, collection: Collection
    ) -> None:
        put(collection, 1, [axis(0)], paths=[LIBRARY / "thunder" / "01.wav"])
        assert keys(collection.by_words("thunder", limit=5)) == [(1, 0.0)]
        assert collection.by_words("music", limit=5) == []  # as LIBRARY is called
        assert collection.by_words("wav", limit=5) == []

    def test_the_chunks_of_a_content(self, collection: Collection) -> None:
        vectors = unit_vectors(250)
        put(collection, 1, vectors)
        put(collection, 2, unit_vectors(3, seed=5), silent=True)
        chunks = collection.chunks(a_hash(1))
        assert [chunk.span.start_s for chunk in chunks] == [10.0 * i for i in range(250)]
        np.testing.assert_allclose([chunk.embedding for chunk in chunks], vectors, atol=1e-6)
        assert all(chunk.silent for chunk in collection.chunks(a_hash(2)))
        assert collection.chunks(a_hash(3)) == []

    # Aspects

    @pytest.fixture(autouse=True)
    def _needs(self, request: pytest.FixtureRequest) -> None:
        if "aspect" in request.node.name and not self.ADDS_VECTORS:
            pytest.skip("this server is too old for aspects")

    def test_an_aspect_has_vectors_of_its_own(self, collection: Collection) -> None:
        put(collection, 1, [axis(0), axis(1)])
        put(collection, 2, [axis(2)])
        collection.add_aspect(SPEAKER)
        collection.add_aspect(SPEAKER)
        assert collection.info.aspects == (SPEAKER,)
        assert [s.content.content_hash for s in collection.lacking("speaker")] == [
            a_hash(1),
            a_hash(2),
        ]
        assert collection.nearest(axis(5), limit=5, aspect="speaker") == []
        collection.put_aspect("speaker", a_hash(1), chunks_of([axis(5), axis(6)]))
        assert [s.content.content_hash for s in collection.lacking("speaker")] == [a_hash(2)]
        assert keys(collection.nearest(axis(6), limit=5, aspect="speaker"))[0] == (1, 10.0)
        found = collection.nearest_contents(axis(6), limit=5, aspect="speaker")
        assert [(m.content_hash, m.score) for m in found] == [(a_hash(1), 1)]
        np.testing.assert_allclose(collection.embeddings(found, "speaker"), [axis(6)])
        np.testing.assert_allclose(collection.embeddings(found), [axis(1)])
        under = collection.chunks(a_hash(1), "speaker")
        np.testing.assert_allclose([chunk.embedding for chunk in under], [axis(5), axis(6)])
        assert [chunk.span.start_s for chunk in under] == [0.0, 10.0]
        assert collection.chunks(a_hash(2), "speaker") == []
        np.testing.assert_allclose(collection.chunks(a_hash(2))[0].embedding, axis(2))
        assert keys(collection.nearest(axis(1), limit=1)) == [(1, 10.0)]

    def test_what_is_put_in_again_lacks_its_aspect(self, collection: Collection) -> None:
        collection.add_aspect(SPEAKER)
        put(collection, 1, [axis(0)])
        collection.put_aspect("speaker", a_hash(1), chunks_of([axis(5)]))
        put(collection, 1, [axis(0)])
        assert len(list(collection.lacking("speaker"))) == 1

    def test_new_places_keep_the_aspect(self, collection: Collection) -> None:
        collection.add_aspect(SPEAKER)
        put(collection, 1, [axis(0)])
        collection.put_aspect("speaker", a_hash(1), chunks_of([axis(5)]))
        collection.set_places(a_hash(1), [a_place("/elsewhere.wav")])
        assert list(collection.lacking("speaker")) == []

    def test_an_aspect_is_given_only_to_chunks_that_are_there(self, collection: Collection) -> None:
        collection.add_aspect(SPEAKER)
        put(collection, 1, [axis(0)])
        collection.put_aspect("speaker", a_hash(1), chunks_of([axis(5), axis(6)]))
        collection.put_aspect("speaker", a_hash(9), chunks_of([axis(5)]))
        assert collection.count() == 1
        with pytest.raises(ValueError, match="not finite"):
            collection.put_aspect("speaker", a_hash(1), chunks_of([axis(5) * np.float32("nan")]))

    def test_an_aspect_is_removed(self, collection: Collection) -> None:
        collection.add_aspect(SPEAKER)
        put(collection, 1, [axis(0)])
        collection.put_aspect("speaker", a_hash(1), chunks_of([axis(5)]))
        collection.remove_aspect("speaker")
        collection.remove_aspect("speaker")
        assert collection.info.aspects == ()
        with pytest.raises(CollectionError, match="no aspect speaker"):
            collection.nearest(axis(5), limit=1, aspect="speaker")
        collection.add_aspect(Aspect("speaker", "another question"))
        assert len(list(collection.lacking("speaker"))) == 1
        assert keys(collection.nearest(axis(0), limit=1)) == [(1, 0.0)]

    def test_an_aspect_keeps_its_question(self, collection: Collection) -> None:
        collection.add_aspect(SPEAKER)
        with pytest.raises(CollectionError, match="asks another thing"):
            collection.add_aspect(Aspect("speaker", "another question"))
        assert collection.info.aspect_asked(" who is speaking? ") == SPEAKER
        assert collection.info.aspect_asked("who?") is None

    def test_under_and_silence(self, collection: Collection) -> None:
        put(collection, 1, [axis(0)], paths=["/a/x.wav"], silent=True)
        put(collection, 2, [axis(0)], paths=["/a/y.wav"])
        assert found_under(collection, "/a") == {2}
        where = SearchFilter(under=Path("/a"), include_silent=True)
        assert len(collection.nearest(axis(0), limit=5, where=where)) == 2

    def test_strange_paths(self, collection: Collection) -> None:
        folders = [
            os.fsdecode(b"/caf\xe9"),  # Latin-1: no UTF-8
            "/café",
            "/cafe\u0301",
            "/line\nbreak",
            "/q\"uo'te\\s",
            "/ lead and trail ",
            "/🎵",
            "/*?[x]{y}",
            "/" + "long" * 50,
        ]
        for number, folder in enumerate(folders):
            put(collection, number, [axis(0)], paths=[Path(folder) / "x.wav"])
        for number, folder in enumerate(folders):
            assert found_under(collection, folder) == {number}
            assert found_under(collection, Path(folder) / "x.wav") == {number}
        stored = {str(place.path) for item in collection.contents() for place in item.places}
        assert stored == {f"{folder}/x.wav" for folder in folders}

    # Editing

    def test_set_places(self, collection: Collection) -> None:
        put(collection, 1, unit_vectors(3), paths=["/old/x.wav", "/old/y.wav"])
        put(collection, 2, unit_vectors(3), paths=["/other/x.wav"])
        before = collection.nearest(axis(0), limit=10)
        collection.set_places(a_hash(1), [a_place("/new/x.wav")])
        assert found_under(collection, "/old") == set()
        assert found_under(collection, "/new") == {1}
        assert found_under(collection, "/other") == {2}
        after = collection.nearest(axis(0), limit=10)
        assert [(m.span, m.score) for m in after] == [(m.span, m.score) for m in before]
        assert [item.places for item in collection.contents()] == [
            (a_place("/new/x.wav"),),
            (a_place("/other/x.wav"),),
        ]

    def test_places_of_an_unknown_content(self, collection: Collection) -> None:
        collection.set_places(a_hash(1), [a_place()])
        assert collection.count() == 0
        assert list(collection.contents()) == []

    def test_delete(self, collection: Collection) -> None:
        put(collection, 1, unit_vectors(3))
        put(collection, 2, unit_vectors(4))
        collection.delete(a_hash(1))
        collection.delete(a_hash(1))
        collection.delete(a_hash(99))
        assert collection.count() == 4
        assert {number for number, _ in keys(collection.nearest(axis(0), limit=10))} == {2}
        assert [item.content for item in collection.contents()] == [a_content(2)]
        put(collection, 1, unit_vectors(3))
        assert collection.count() == 7

    def test_one_content(self, collection: Collection) -> None:
        put(collection, 1, unit_vectors(3))
        put(collection, 2, unit_vectors(2, seed=1))
        assert collection.content(a_hash(3)) is None
        [one, other] = [collection.content(a_hash(number)) for number in (1, 2)]
        assert [one, other] == list(collection.contents())

    def test_contents(self, collection: Collection) -> None:
        for number in (3, 1, 2):
            put(collection, number, unit_vectors(number), paths=[f"/{number}.wav"])
        assert list(collection.contents()) == [
            StoredContent(a_content(number), (a_place(f"/{number}.wav"),), number)
            for number in (1, 2, 3)
        ]

    def test_many_contents(self, collection: Collection) -> None:
        for number in range(700):
            put(collection, number, unit_vectors(2, seed=number))
        stored = list(collection.contents())
        assert [item.content.content_hash for item in stored] == [a_hash(n) for n in range(700)]
        assert {item.n_chunks for item in stored} == {2}

    def test_a_long_life(self, collection: Collection) -> None:
        """Random edits, against a dictionary."""
        chance = random.Random(0)
        model: dict[int, tuple[int, set[str]]] = {}  # content: chunks, paths
        for _ in range(300):
            number = chance.randrange(12)
            paths = {f"/{letter}/{number}.wav" for letter in chance.sample("abc", k=2)}
            match chance.randrange(4):
                case 0:
                    collection.delete(a_hash(number))
                    model.pop(number, None)
                case 1:
                    collection.set_places(a_hash(number), [a_place(path) for path in paths])
                    if number in model:
                        model[number] = (model[number][0], paths)
                case 2:
                    collection.flush()
                case 3:
                    put(collection, number, unit_vectors(number + 1), paths=sorted(paths))
                    model[number] = (number + 1, paths)
        assert collection.count() == sum(n_chunks for n_chunks, _ in model.values())
        assert {
            int(item.content.content_hash, 16): (
                item.n_chunks,
                {str(place.path) for place in item.places},
            )
            for item in collection.contents()
        } == model
        for letter in "abc":
            expected = {
                number for number, (_, paths) in model.items() if f"/{letter}/{number}.wav" in paths
            }
            assert found_under(collection, f"/{letter}") == expected

    # Closing

    def test_closed(self, collection: Collection) -> None:
        put(collection, 1, [axis(0)])
        with collection as entered:
            assert entered is collection
        collection.close()
        for use in (
            collection.count,
            collection.flush,
            lambda: list(collection.contents()),
            lambda: collection.nearest(axis(0), limit=1),
            lambda: collection.delete(a_hash(1)),
            lambda: collection.set_places(a_hash(1), [a_place()]),
            lambda: put(collection, 2, [axis(0)]),
        ):
            with pytest.raises(CollectionError, match="closed"):
                use()
