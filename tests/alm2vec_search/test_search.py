"""Questions to hits: what is embedded, what is shown."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from index_driver import SAMPLING_RATE, Index, write_tone

from alm2vec_search.collection.base import SearchFilter
from alm2vec_search.domain import (
    Content,
    EmbeddedChunk,
    Label,
    Notes,
    Place,
    Query,
    TimeSpan,
    Verdict,
    Waveform,
)
from alm2vec_search.errors import QueryError
from alm2vec_search.queries import Asked
from alm2vec_search.search import (
    CANDIDATES,
    LESS,
    WORDS_WEIGHT,
    Searcher,
    SearchOptions,
    Together,
)
from alm2vec_search.shaping import Shape
from alm2vec_search.testing import NOTES_HZ, FakeEncoder, tone
from alm2vec_search.where import parse_where

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alm2vec_search.collection.base import Collection
    from alm2vec_search.domain import Embedding, Embeddings, Hit, Question

SHELF = Path("/shelf")


def sound(*notes: str, duration_s: float = 4.0) -> Waveform:
    tones = [tone(NOTES_HZ[note], duration_s, SAMPLING_RATE) for note in notes]
    return Waveform(np.concatenate(tones), SAMPLING_RATE)


@pytest.fixture
def searcher(index: Index, library: Path) -> Iterator[Searcher]:
    for note in NOTES_HZ:
        write_tone(library / f"{note}.wav", note)
    index.run(library)
    with index.open() as (collection, _):
        yield Searcher(FakeEncoder(), collection, window_s=4.0)


@pytest.mark.parametrize("note", list(NOTES_HZ))
def test_words_and_sounds_meet_in_one_space(searcher: Searcher, note: str) -> None:
    assert searcher.search(Query(text=note))[0].path.stem == note
    assert searcher.search(Query(audio=sound(note)))[0].path.stem == note


def test_a_long_sound_is_the_mean_of_its_windows(searcher: Searcher) -> None:
    parts = [searcher.embed(Query(audio=sound(note))) for note in ("low", "high")]
    mean = np.mean(parts, axis=0)
    long = searcher.embed(Query(audio=sound("low", "high")))
    np.testing.assert_allclose(long, mean / np.linalg.norm(mean), atol=1e-6)


def test_words_and_a_sound_are_one_input(searcher: Searcher) -> None:
    both = searcher.embed(Query(text="low", audio=sound("high")))
    alone = [searcher.embed(Query(text="low")), searcher.embed(Query(audio=sound("high")))]
    assert all(0.1 < float(both @ one) < 0.99 for one in alone)


@pytest.mark.parametrize(
    "query",
    [Query(), Query(text=" \n"), Query(audio=Waveform(np.zeros(0, np.float32), SAMPLING_RATE))],
)
def test_an_empty_question(searcher: Searcher, query: Query) -> None:
    with pytest.raises(QueryError, match="the query is empty"):
        searcher.search(query)


def test_under_shows_the_copy_that_lies_there(index: Index, library: Path) -> None:
    write_tone(library / "a" / "x.wav")
    (library / "b").mkdir()
    shutil.copy(library / "a" / "x.wav", library / "b" / "y.wav")
    index.run(library)
    (hit,) = index.search("low", under=library.resolve() / "b")
    assert (hit.path.name, hit.copies) == ("y.wav", ())
    (hit,) = index.search("low")
    assert (hit.path.name, [copy.name for copy in hit.copies]) == ("x.wav", ["y.wav"])


def test_under_is_a_folder_not_a_prefix(index: Index, library: Path) -> None:
    write_tone(library / "a" / "x.wav")
    write_tone(library / "ab" / "y.wav", "high")
    index.run(library)
    assert [h.path.name for h in index.search("low", under=library.resolve() / "a")] == ["x.wav"]


# Questions of several parts


def asked(text: str | None = None, **others: Any) -> Question:
    return Asked(text=text, **others).load(SAMPLING_RATE)


def split(text: str) -> Question:
    return Asked(text=text).load(SAMPLING_RATE, split=True)


@dataclass
class Shelf:
    """A collection that is filled chunk by chunk, and asked."""

    collection: Collection
    encoder: FakeEncoder = field(default_factory=FakeEncoder)

    def put(
        self, name: str, *chords: str, hop_s: float = 2.0, audio_hash: str = "", tag: str = ""
    ) -> None:
        """A file with a chunk of 2 s for each chord, such as `low+high`; one every `hop_s`."""
        heard = [_chord(*chord.split("+")) for chord in chords]
        vectors = self.encoder.encode_document(audio=heard)
        chunks = [
            EmbeddedChunk(TimeSpan(hop_s * i, hop_s * i + 2), vector, silent=False)
            for i, vector in enumerate(vectors)
        ]
        content = Content(
            sha256(name.encode()).hexdigest(),
            size=1000,
            duration_s=chunks[-1].span.end_s,
            sampling_rate=SAMPLING_RATE,
            channels=1,
            notes=Notes(tags=(tag,) if tag else ()),
            audio_hash=audio_hash,
        )
        place = Place(SHELF / name, SHELF, mtime_ns=0)
        self.collection.upsert(content, [place], chunks)

    def hits(self, question: Question, **options: Any) -> list[Hit]:
        searcher = Searcher(self.encoder, self.collection)
        return searcher.search(question, SearchOptions(**{"limit": 50, **options}))

    def names(self, question: Question, **options: Any) -> list[str]:
        return [hit.path.stem for hit in self.hits(question, **options)]

    def vector(self, *chord: str) -> Embedding:
        return self.encoder.encode_document(audio=[_chord(*chord)])[0]

    def question(self, text: str) -> Embedding:
        return self.encoder.encode_query(text=[text])[0]


def _chord(*notes: str) -> Waveform:
    tones = [tone(NOTES_HZ[note], 2.0, SAMPLING_RATE, peak=0.25) for note in notes]
    return Waveform(np.sum(tones, axis=0, dtype=np.float32), SAMPLING_RATE)


@pytest.fixture
def shelf(index: Index) -> Iterator[Shelf]:
    with index.open() as (collection, _):
        yield Shelf(collection)


@pytest.fixture
def notes(shelf: Shelf) -> Shelf:
    """A file for each note."""
    for note in NOTES_HZ:
        shelf.put(note, note)
    return shelf


class TestOneVector:
    @pytest.mark.parametrize(
        ("more", "order"),
        [("2:high", ["high", "low", "middle"]), (".5:high", ["low", "high", "middle"])],
    )
    def test_clauses_count_by_their_weights(
        self, notes: Shelf, more: str, order: list[str]
    ) -> None:
        hits = notes.hits(asked("low", more=(more,)))
        assert [hit.path.name for hit in hits] == order
        weight = float(more.partition(":")[0])
        wanted = notes.question("low") + weight * notes.question("high")
        expected = {note: notes.vector(note) @ wanted / np.linalg.norm(wanted) for note in order}
        assert {h.path.name: h.score for h in hits} == pytest.approx(expected, abs=1e-4)

    def test_each_clause_is_told_of(self, notes: Shelf) -> None:
        best = notes.hits(asked("low", more=("3:high",), less=("2:middle",)))[0]
        assert best.path.name == "high"
        assert [(c.label, c.weight) for c in best.clauses] == [
            ("low", 1),
            ("high", 3),
            ("middle", -2),
        ]
        near = [float(notes.vector("high") @ notes.question(c.label)) for c in best.clauses]
        assert [c.score for c in best.clauses] == pytest.approx(near, abs=1e-4)
        assert near[1] > 0.9 > 0.2 > near[0]

    def test_a_question_of_one_part_tells_of_none(self, notes: Shelf) -> None:
        assert [hit.clauses for hit in notes.hits(asked("low"))] == [()] * 3

    def test_less_takes_away(self, shelf: Shelf) -> None:
        shelf.put("both", "low+high")
        shelf.put("low", "low")
        assert shelf.names(asked("low high")) == ["both", "low"]
        hits = shelf.hits(asked("low high", less=("high",)))
        assert [hit.path.name for hit in hits] == ["low", "both"]
        rest = shelf.question("low high") - LESS * shelf.question("high")
        expected = shelf.vector("low") @ rest / np.linalg.norm(rest)
        assert hits[0].score == pytest.approx(float(expected), abs=1e-4)

    @pytest.mark.parametrize("together", list(Together))
    def test_only_what_is_not_wanted(self, notes: Shelf, together: Together) -> None:
        with pytest.raises(QueryError, match="only what isn't wanted"):
            notes.hits(asked(less=("low", "high")), together=together)

    @pytest.mark.parametrize("together", list(Together))
    def test_what_cancels_out(self, notes: Shelf, together: Together) -> None:
        question = asked("low", more=("low",), less=(f"{1 / LESS}:low",))
        with pytest.raises(QueryError, match="cancel out"):
            notes.hits(question, together=together)


class TestByRank:
    @pytest.fixture
    def scenes(self, shelf: Shelf) -> Shelf:
        """One file in which both are heard at once, one with first this, then that; and others."""
        shelf.put("apart", "low", "high")
        shelf.put("at once", "middle", "low+high")
        for name in "abc":
            shelf.put(name, "low+middle+high", "middle")
        return shelf

    def test_all_at_once_comes_before_one_after_the_other(self, scenes: Shelf) -> None:
        hits = scenes.hits(split("low, high"), together=Together.RANKS)
        names = [hit.path.name for hit in hits]
        assert names[0] == "at once"
        assert sorted(names) == ["a", "apart", "at once", "b", "c"]
        assert hits[0].span == TimeSpan(2, 4)

    def test_a_file_is_shown_where_all_is_heard(self, scenes: Shelf) -> None:
        scenes.put("in turn", "low", "high", "low+high")
        hits = scenes.hits(split("low, high"), together=Together.RANKS)
        spans = {hit.path.name: hit.span for hit in hits[:2]}
        assert spans == {"at once": TimeSpan(2, 4), "in turn": TimeSpan(4, 6)}

    def test_clauses_have_scores_and_the_hit_their_mean(self, scenes: Shelf) -> None:
        best = scenes.hits(split("low, high"), together=Together.RANKS)[0]
        near = [float(scenes.vector("low", "high") @ scenes.question(w)) for w in ("low", "high")]
        assert [(c.label, c.weight) for c in best.clauses] == [("low", 1), ("high", 1)]
        assert [c.score for c in best.clauses] == pytest.approx(near, abs=1e-4)
        assert best.score == pytest.approx(float(np.mean(near)), abs=1e-4)

    def test_weights(self, scenes: Shelf) -> None:
        question = asked("low", more=("9:high",))
        hits = scenes.hits(question, together=Together.RANKS)
        assert (hits[0].path.name, hits[0].span) == ("apart", TimeSpan(2, 4))
        low, high = (clause.score for clause in hits[0].clauses)
        assert hits[0].score == pytest.approx((low + 9 * high) / 10, abs=1e-6)

    def test_less_takes_away_from_each(self, scenes: Shelf) -> None:
        scenes.put("all", "low+middle+high")
        wanted = scenes.hits(asked("low", more=("high",)), together=Together.RANKS)
        question = asked("low", more=("high",), less=("middle",))
        hits = scenes.hits(question, together=Together.RANKS)
        each = [scenes.question(w) - LESS * scenes.question("middle") for w in ("low", "high")]
        near = [scenes.vector("low", "high") @ v / np.linalg.norm(v) for v in each]
        best = hits[0]
        assert best.path.name == "at once"
        assert best.score == pytest.approx(float(np.mean(near)), abs=1e-4)
        assert best.score < wanted[0].score
        assert [c.label for c in best.clauses] == ["low", "high", "middle"]

    def test_one_clause_is_asked_as_ever(self, scenes: Shelf) -> None:
        question = split("low")
        assert scenes.hits(question, together=Together.RANKS) == scenes.hits(question)


class TestWords:
    @pytest.fixture
    def named(self, shelf: Shelf) -> Shelf:
        """All sound alike but one, which has a telling name."""
        for name in ("a.wav", "b.wav"):
            shelf.put(name, "low")
        shelf.put("thunder.wav", "low+middle")
        return shelf

    def test_a_telling_name_rises(self, named: Shelf) -> None:
        question = asked("low thunder")
        assert named.names(question)[-1] == "thunder"
        hits = named.hits(question, words_weight=WORDS_WEIGHT)
        assert hits[0].path.stem == "thunder"
        assert hits[0].words_score is not None
        assert hits[0].words_score > 0
        assert [hit.words_score for hit in hits[1:]] == [None, None]

    def test_a_telling_tag_rises(self, named: Shelf) -> None:
        named.put("x.wav", "low+high", tag="hail")
        question = asked("low hail")
        assert named.names(question)[0] != "x"
        assert named.names(question, words_weight=WORDS_WEIGHT)[0] == "x"

    def test_scores_are_cosines_with_names_or_without(self, named: Shelf) -> None:
        question = asked("low thunder")
        plain = {hit.path.stem: hit.score for hit in named.hits(question)}
        named_scores = {h.path.stem: h.score for h in named.hits(question, words_weight=1)}
        assert named_scores == pytest.approx(plain, abs=1e-5)

    def test_without_a_weight_names_do_not_count(self, named: Shelf) -> None:
        hits = named.hits(asked("low thunder"), words_weight=0)
        assert [hit.words_score for hit in hits] == [None] * 3
        assert hits[-1].path.stem == "thunder"

    def test_what_is_not_wanted_is_not_looked_for(self, named: Shelf) -> None:
        hits = named.hits(asked("low", less=("thunder",)), words_weight=WORDS_WEIGHT)
        assert [hit.words_score for hit in hits] == [None] * 3

    @pytest.fixture
    def full(self, shelf: Shelf) -> Shelf:
        """So many files are near to `low` that what isn't, is found by its name only."""
        for number in range(CANDIDATES + 5):
            shelf.put(f"{number}.wav", "low", "low")
        return shelf

    def test_what_only_its_name_finds_has_a_cosine_too(self, full: Shelf) -> None:
        full.put("thunder.wav", "high", "middle+low")
        question = asked("low thunder")
        assert "thunder" not in full.names(question, limit=CANDIDATES)
        best, second = full.hits(question, words_weight=3, limit=2)
        assert (best.path.stem, best.span) == ("thunder", TimeSpan(2, 4))
        near = full.vector("low", "middle") @ full.question("low thunder")
        assert best.score == pytest.approx(float(near), abs=1e-4)
        assert best.score < second.score

    def test_what_only_its_name_finds_is_narrowed_too(self, full: Shelf) -> None:
        full.put("thunder.wav", "middle+low", "high")
        where = SearchFilter(condition=parse_where("start>1"))
        (best,) = full.hits(asked("low thunder"), words_weight=3, limit=1, where=where)
        assert (best.path.stem, best.span) == ("thunder", TimeSpan(2, 4))

    def test_each_that_only_its_name_finds_is_found(self, full: Shelf) -> None:
        full.put("thunder.wav", "middle+low", "middle+low", "middle+low")
        full.put("far thunder.wav", "high", "high")
        hits = full.hits(
            asked("low thunder"), words_weight=3, limit=2, shape=Shape(all_chunks=True)
        )
        assert sorted(hit.path.stem for hit in hits) == ["far thunder", "thunder"]


class TestVerdicts:
    @pytest.fixture
    def mixed(self, notes: Shelf) -> Shelf:
        notes.put("mixed", "low+high")
        return notes

    def test_hits_are_judged_where_that_is_asked_for(self, mixed: Shelf) -> None:
        assert {hit.verdict for hit in mixed.hits(asked("low"))} == {None}
        hits = mixed.hits(asked("low"), least=Verdict.WEAK)
        assert [hit.path.name for hit in hits[:2]] == ["low", "mixed"]
        assert (hits[0].verdict, hits[-1].verdict) == (Verdict.STRONG, Verdict.WEAK)
        chances = [hit.probability or 0 for hit in hits]
        assert len(chances) == 4
        assert chances == sorted(chances, reverse=True)

    def test_what_does_not_reach_it_is_left_out(self, mixed: Shelf) -> None:
        strong = mixed.hits(asked("low"), least=Verdict.STRONG)
        assert strong
        assert {hit.verdict for hit in strong} == {Verdict.STRONG}
        left_out = {"middle", "high"}
        assert left_out.isdisjoint(hit.path.name for hit in strong)

    def test_what_is_good_enough_is_found_behind_what_is_not(self, mixed: Shelf) -> None:
        """Less of something puts other hits first than those that are likely."""
        mixed.put("low again", "low")
        (one,) = mixed.hits(asked("low"), least=Verdict.STRONG, limit=1)
        assert one.verdict is Verdict.STRONG
        every = mixed.hits(asked("low"), least=Verdict.STRONG)
        assert mixed.hits(asked("low"), least=Verdict.STRONG, limit=2) == every[:2]

    def test_one_by_one_all_that_is_wanted_has_to_be_there(self, mixed: Shelf) -> None:
        options = {"together": Together.RANKS, "least": Verdict.WEAK}
        hits = {hit.path.name: hit for hit in mixed.hits(split("low, high"), **options)}
        alone = {h.path.name: h for h in mixed.hits(asked("low"), least=Verdict.WEAK)}
        other = {h.path.name: h for h in mixed.hits(asked("high"), least=Verdict.WEAK)}
        for name, hit in hits.items():
            least = min(alone[name].probability or 0, other[name].probability or 0)
            assert hit.probability == pytest.approx(least, abs=1e-3)
        assert hits["low"].verdict is Verdict.WEAK

    def test_what_is_not_wanted_counts_against(self, mixed: Shelf) -> None:
        (plain, *_) = mixed.hits(asked("low"), least=Verdict.WEAK)
        hits = mixed.hits(asked("low", less=("0.1:low",)), least=Verdict.WEAK)
        assert plain.probability is not None
        assert hits[0].probability == pytest.approx(
            plain.probability * (1 - plain.probability), abs=2e-3
        )


class TestNarrowed:
    def test_a_condition(self, notes: Shelf) -> None:
        notes.put("long", "high", "high")
        where = SearchFilter(condition=parse_where("duration>3"))
        assert notes.names(asked("low"), where=where) == ["long"]

    @pytest.mark.parametrize("together", list(Together))
    def test_a_condition_narrows_every_ranking(self, notes: Shelf, together: Together) -> None:
        where = SearchFilter(condition=parse_where("not name:low"))
        options = {"where": where, "together": together, "words_weight": WORDS_WEIGHT}
        assert sorted(notes.names(split("low, middle"), **options)) == ["high", "middle"]

    def test_a_condition_on_the_chunk(self, shelf: Shelf) -> None:
        shelf.put("x", "low", "middle", "low")
        where = SearchFilter(condition=parse_where("start>1"))
        (hit,) = shelf.hits(asked("low"), where=where)
        assert hit.span == TimeSpan(4, 6)


class TestShaped:
    def test_overlapping_chunks_are_one_stretch(self, shelf: Shelf) -> None:
        shelf.put("x", *["low"] * 4, hop_s=1.0)  # 0-2, 1-3, 2-4, 3-5
        shelf.put("y", "middle", "middle")
        hits = shelf.hits(asked("low"), shape=Shape(all_chunks=True))
        told = [(hit.path.name, hit.span) for hit in hits]
        assert told == [("x", TimeSpan(0, 5)), ("y", TimeSpan(0, 2)), ("y", TimeSpan(2, 4))]

    def test_each_file_once_at_its_best(self, shelf: Shelf) -> None:
        shelf.put("x", "high", "low", "middle")
        shelf.put("y", "middle", "low+middle")
        told = [(hit.path.name, hit.span) for hit in shelf.hits(asked("low"))]
        assert told == [("x", TimeSpan(2, 4)), ("y", TimeSpan(2, 4))]

    @pytest.mark.parametrize("words_weight", [0, WORDS_WEIGHT])
    def test_the_limit_is_reached_behind_many_copies(
        self, shelf: Shelf, words_weight: float
    ) -> None:
        for number in range(30):
            shelf.put(f"copy-{number:02}", "low", audio_hash="the same")
        for number in range(4):
            shelf.put(f"other-{number}", "low+middle", audio_hash=f"{number}")
        hits = shelf.hits(asked("low"), limit=3, words_weight=words_weight)
        assert [hit.path.name.partition("-")[0] for hit in hits] == ["copy", "other", "other"]
        assert len({hits[0].path, *hits[0].copies}) == 30

    def test_the_limit_is_reached_behind_a_long_file(self, shelf: Shelf) -> None:
        shelf.put("long", *["low"] * 40, hop_s=1.0)
        shelf.put("x", "middle", "high")
        hits = shelf.hits(asked("low"), limit=3, shape=Shape(all_chunks=True))
        assert [hit.path.name for hit in hits] == ["long", "x", "x"]
        assert hits[0].span == TimeSpan(0, 41)

    def test_the_limit_is_reached_where_few_of_a_folder_are_shown(self, shelf: Shelf) -> None:
        for number in range(20):
            shelf.put(f"full/{number}", "low")
        for number in range(4):
            shelf.put(f"other/{number}", "high")
        hits = shelf.hits(asked("low"), limit=4, shape=Shape(per_folder=2))
        assert [hit.path.parent.name for hit in hits] == ["full", "full", "other", "other"]

    def test_fewer_than_the_limit_are_all(self, notes: Shelf) -> None:
        assert sorted(notes.names(asked("low"), limit=40)) == sorted(NOTES_HZ)


@dataclass(frozen=True)
class Listener(FakeEncoder):
    """Names the loudest note of a sound, and hears it upside down under an instruction."""

    def encode_document(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        vectors = FakeEncoder.encode_document(self, text=text, audio=audio)
        return vectors if instruction is None else vectors[:, ::-1].copy()

    def labels(self, audio: Sequence[Waveform], most: int) -> list[tuple[Label, ...]]:
        names = list(NOTES_HZ)
        near = self.encode_document(audio=audio) @ self.encode_query(text=names).T
        told = [sorted(zip(row.tolist(), names, strict=True), reverse=True) for row in near]
        return [tuple(Label(name, score) for score, name in row[:most]) for row in told]


class TestHeardAgain:
    """What is done with the sounds themselves, after they were found."""

    @pytest.fixture
    def found(self, index: Index, library: Path) -> Iterator[Shelf]:
        for note in NOTES_HZ:
            write_tone(library / f"{note}.wav", note)
        index.run(library)
        with index.open() as (collection, _):
            yield Shelf(collection, Listener())

    def test_an_instruction_ranks_the_best_anew(self, found: Shelf) -> None:
        question = asked("high", instruction="what is it upside down?")
        assert found.names(question)[0] == "high"
        best, *_ = found.hits(question, reembed=3)
        assert (best.path.stem, best.reembedded) == ("low", True)

    def test_no_more_than_are_asked_for(self, found: Shelf) -> None:
        question = asked("high", instruction="what is it upside down?")
        hits = found.hits(question, reembed=1)
        assert [(hit.path.stem, hit.reembedded) for hit in hits[:1]] == [("high", True)]
        assert not any(hit.reembedded for hit in hits[1:])

    def test_what_is_gone_stays_behind(self, found: Shelf, library: Path) -> None:
        (library / "low.wav").unlink()
        hits = found.hits(asked("high", instruction="upside down"), reembed=3)
        assert (hits[-1].path.stem, hits[-1].reembedded) == ("low", False)

    def test_a_hit_is_explained(self, found: Shelf) -> None:
        best, *_ = found.hits(asked("low"), explain=True)
        assert best.explanation is not None
        assert best.explanation.window == best.span
        assert best.explanation.compared == "plain"
        assert best.explanation.heard[0].name == "low"
        assert {hit.explanation for hit in found.hits(asked("low"))} == {None}

    def test_a_hit_that_was_heard_again_says_so(self, found: Shelf) -> None:
        best, *_ = found.hits(asked("low", instruction="upside down"), explain=True, reembed=3)
        assert best.explanation is not None
        assert best.explanation.compared == "heard again"

    def test_what_is_gone_is_explained_without_hearing_it(
        self, found: Shelf, library: Path
    ) -> None:
        (library / "low.wav").unlink()
        best, *_ = found.hits(asked("low"), explain=True)
        assert best.explanation is not None
        assert best.explanation.heard == ()

    def test_an_encoder_without_names(self, found: Shelf) -> None:
        found.encoder = FakeEncoder()
        best, *_ = found.hits(asked("low"), explain=True)
        assert best.explanation is not None
        assert best.explanation.heard == ()
