"""From a question to ranked hits.

embed     each clause of the question becomes a vector; a long sound's windows are averaged
find      the chunks near it, and those told of in its words; several rankings become one
shape     each sound once, overlapping stretches as one, no folder everywhere
judge     how near each is to each clause, and whether it is an answer at all
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from alm2vec_search.collection.base import SearchFilter
from alm2vec_search.domain import (
    ClauseScore,
    Explanation,
    Hit,
    Label,
    Labeller,
    Query,
    Question,
    Verdict,
    Waveform,
)
from alm2vec_search.errors import AudioError, QueryError
from alm2vec_search.fusion import reciprocal_rank_fusion
from alm2vec_search.likeness import PROPOSED, KnownCopies
from alm2vec_search.shaping import Shape, shaped
from alm2vec_search.verdicts import SOUND, WORDS, Judge, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from alm2vec_search.collection.base import Collection, Match
    from alm2vec_search.domain import Aspect, Embedding, Embeddings, Encoder

CANDIDATES = 100  # at least, where rankings are joined
WORDS_WEIGHT = 0.3  # of the ranking by names, tags and notes, beside 1 for that by sound
LESS = 0.5  # what isn't wanted is taken away with this, beside 1 for what is
LABELS = 5  # of what is heard in a hit, at most, in an explanation
FAINT_LABEL = 0.05  # presence; what is less present isn't told
_SPARE = 2  # how many times the limit is asked for, since some are going to be left out
_GROWTH = 4


class Together(Enum):
    """How the clauses of a question are put together."""

    VECTOR = "one vector"  # their weighted sum is asked for
    RANKS = "by rank"  # each is asked for by itself, and what ranks high for all comes first


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What narrows and shapes an answer."""

    limit: int = 10
    where: SearchFilter = field(default_factory=SearchFilter)
    shape: Shape = field(default_factory=Shape)
    together: Together = Together.VECTOR
    words_weight: float = 0.0  # 0: names, tags and notes don't count
    least: Verdict | None = None  # what a hit has to reach; None: hits aren't judged
    collapse: bool = False  # re-encoded and trimmed copies of a better hit become copies of it
    # Under an instruction, so many of the best are embedded again with it, and ranked anew: their
    # vectors in the collection were made without. 0: none.
    reembed: int = 0
    aspect: Aspect | None = None  # one of the collection's: chunks are compared by its vectors
    explain: bool = False  # hits carry an `Explanation`, and are heard once more for it


class Searcher:
    """Answers questions from a collection.

    Args:
        encoder: must be the one that filled the collection.
        collection: open, and left open.
        judge: needed for options that ask for verdicts.
        copies: what is known of copies by now; for a searcher that lives long, or one of many.
        window_s: a query's sound longer than this is embedded in windows, as files are.
    """

    def __init__(
        self,
        encoder: Encoder,
        collection: Collection,
        *,
        judge: Judge | None = None,
        copies: KnownCopies | None = None,
        window_s: float = 10.0,
    ) -> None:
        self._encoder = encoder
        self._collection = collection
        self._judge = judge or Judge(encoder)
        self._copies = copies or KnownCopies()
        self._window_s = window_s

    @property
    def sampling_rate(self) -> int:
        """Of a query's sound, in Hz."""
        return self._encoder.sampling_rate

    def search(self, question: Question | Query, options: SearchOptions | None = None) -> list[Hit]:
        """The nearest files with their best span, or the nearest spans; best first.

        Raises:
            QueryError: the question is empty, or asks for nothing but what isn't wanted.
            CollectionError: the collection can't be read.
        """
        options = options or SearchOptions()
        if isinstance(question, Query):
            question = Question.of(question)
        if options.aspect is not None:
            question = _under(options.aspect, question)
            options = replace(options, reembed=0)
        # What isn't good enough is left out at the end, so that more has to be found.
        is_choosy = options.least not in (None, Verdict.WEAK)
        limit = options.limit * _GROWTH if is_choosy else options.limit
        n = limit * _SPARE if options.collapse else limit
        asked = _Asked(question, np.stack([self.embed(c.query) for c in question.clauses]))
        if options.reembed and question.instruction:
            found = self._shaped(asked, replace(options, limit=max(n, options.reembed)))
            found = self._reembedded(asked, found, options)
        else:
            found = self._shaped(asked, replace(options, limit=n))
        if options.collapse:
            found = self._collapsed(found, limit)
        found = found[:limit]
        hits = self._tell(asked, found, options)
        told = [
            (hit, item)
            for hit, item in zip(hits, found, strict=True)
            if options.least is None or (hit.verdict and hit.verdict.reaches(options.least))
        ][: options.limit]
        if not options.explain:
            return [hit for hit, _ in told]
        return [replace(hit, explanation=self._explained(item, options)) for hit, item in told]

    def embed(self, query: Query) -> Embedding:
        """The query's vector [dim]. The windows of a long sound are averaged.

        Raises:
            QueryError: there is nothing in it.
        """
        text = query.text.strip() if query.text else None
        windows = _windows(query.audio, self._window_s)
        if not text and not windows:
            raise QueryError("the query is empty", hint='alm2vec search "rain on a tin roof"')
        n = max(1, len(windows))
        embeddings = self._encoder.encode_query(
            text=[text or None] * n,
            audio=windows or None,
            instruction=query.instruction,
        )  # [n, dim]
        mean: Embedding = embeddings.mean(axis=0)
        return mean / np.float32(np.linalg.norm(mean))

    # Finding

    def _shaped(self, asked: _Asked, options: SearchOptions) -> list[_Found]:
        """As many matches as are asked for, if there are; what is ranked grows until then."""
        n = options.limit * _SPARE
        while True:
            ranked = self._ranked(asked, n, options)
            found = {_key(item.match): item for item in ranked}
            matches = shaped([item.match for item in ranked], options.shape)
            if len(matches) >= options.limit or len(ranked) < n:
                shown = matches[: options.limit]
                return [replace(found[_key(match)], match=match) for match in shown]
            n *= _GROWTH

    def _ranked(self, asked: _Asked, n: int, options: SearchOptions) -> list[_Found]:
        """The best n matches, or fewer if there are no more."""
        is_split = options.together is Together.RANKS and asked.wanted.sum() > 1
        words = asked.question.words if options.words_weight > 0 else ""
        if not is_split and not words:
            matches = self._nearest(options)(asked.vector, limit=n, where=options.where)
            return [_Found(match) for match in matches]
        vectors = asked.each if is_split else asked.vector[None]  # [c, dim]
        weights = asked.weights[asked.wanted] if is_split else np.ones(1, np.float32)  # [c]
        depth = max(n, CANDIDATES)
        near = self._near(vectors, depth, options, is_split=is_split)
        told = self._told(words, near, depth, options) if words else []
        candidates = self._candidates(vectors, near, told, options)
        return self._fused(candidates, vectors, weights, told, options)[:n]

    def _nearest(
        self, options: SearchOptions, *, by_chunk: bool = False
    ) -> Callable[..., list[Match]]:
        name = options.aspect.name if options.aspect else None
        if by_chunk or options.shape.all_chunks:
            return partial(self._collection.nearest, aspect=name)
        return partial(self._collection.nearest_contents, aspect=name)

    def _near(
        self, vectors: Embeddings, depth: int, options: SearchOptions, *, is_split: bool
    ) -> list[Match]:
        """What is near to one of the vectors."""
        # All that is asked for has to be in the same chunk, so that clauses are compared by chunk.
        nearest = self._nearest(options, by_chunk=is_split)
        return [m for vector in vectors for m in nearest(vector, limit=depth, where=options.where)]

    def _told(
        self, words: str, near: Sequence[Match], depth: int, options: SearchOptions
    ) -> list[Match]:
        """What is told of in words: of what is near, and the best of all there is."""
        best = self._collection.by_words(words, limit=depth, where=options.where)
        hashes = frozenset(m.content_hash for m in near) - {m.content_hash for m in best}
        if not hashes:
            return best
        where = replace(options.where, contents=hashes)
        return [*best, *self._collection.by_words(words, limit=len(hashes), where=where)]

    def _candidates(
        self,
        vectors: Embeddings,
        near: Sequence[Match],
        told: Sequence[Match],
        options: SearchOptions,
    ) -> list[Match]:
        """What may be an answer: what is near, and of what is told of in words the nearest
        chunk."""
        found = list(near)
        if hashes := frozenset(m.content_hash for m in told) - {m.content_hash for m in found}:
            where = replace(options.where, contents=hashes)
            middle = vectors.mean(axis=0)
            best = partial(self._nearest(replace(options, shape=Shape())), limit=len(hashes))
            found += best(middle, where=where)
        return list({_key(match): match for match in found}.values())

    def _fused(
        self,
        candidates: Sequence[Match],
        vectors: Embeddings,
        weights: NDArray[np.float32],
        told: Sequence[Match],
        options: SearchOptions,
    ) -> list[_Found]:
        """The candidates in the order that all judges together give them."""
        if not candidates:
            return []
        by_words = {match.content_hash: match.score for match in told}
        words = np.array([by_words.get(m.content_hash, np.nan) for m in candidates])  # [n]
        near = self._vectors(candidates, options) @ vectors.T  # [n, c]
        judged = np.column_stack([near, words])
        parts = reciprocal_rank_fusion(judged, [*weights.tolist(), options.words_weight])
        score = near @ weights / weights.sum()  # [n]
        found = [
            _Found(replace(m, score=float(np.clip(s, -1, 1))), by_words.get(m.content_hash), f)
            for m, s, f in zip(candidates, score, parts, strict=True)
        ]
        return sorted(found, key=_Found.order)

    def _vectors(self, matches: Sequence[Match], options: SearchOptions) -> Embeddings:
        """As the question compares them [n, dim]."""
        aspect = options.aspect.name if options.aspect else None
        return self._collection.embeddings(matches, aspect)

    # Hearing again

    def _reembedded(
        self, asked: _Asked, found: Sequence[_Found], options: SearchOptions
    ) -> list[_Found]:
        """The first of what was found, as near as they are under the instruction; behind them what
        wasn't heard again, among that what can't be read any more."""
        heard: list[tuple[_Found, Waveform]] = []
        rest: list[_Found] = []
        for item in found:
            sound = self._read(item.match) if len(heard) < options.reembed else None
            if sound is None:
                rest.append(item)
            else:
                heard.append((item, sound))
        if not heard:
            return rest
        embeddings = self._encoder.encode_document(
            audio=[sound for _, sound in heard], instruction=asked.question.instruction
        )  # [n, dim]
        scores = embeddings @ asked.vector
        anew = [
            replace(item, match=replace(item.match, score=float(score)), is_reembedded=True)
            for (item, _), score in zip(heard, scores, strict=True)
        ]
        return [*sorted(anew, key=lambda item: -item.match.score), *rest]

    def _read(self, match: Match) -> Waveform | None:
        from alm2vec_search.audio import decode

        for place in match.places:
            try:
                return decode(place.path, self.sampling_rate, match.span)
            except AudioError:
                continue
        return None

    # Copies

    def _collapsed(self, found: Sequence[_Found], limit: int) -> list[_Found]:
        """The first so many recordings; what is a copy of a better one joins its places."""
        embeddings = self._collection.embeddings([item.match for item in found])  # [n, dim]
        kept: list[int] = []
        shown: dict[int, _Found] = {}
        sounds: dict[int, Waveform | None] = {}

        def sound(number: int) -> Waveform | None:
            if number not in sounds:
                sounds[number] = self._read(found[number].match)
            return sounds[number]

        def are_copies(one: int, other: int) -> bool:
            pair = frozenset(map(_key, (found[one].match, found[other].match)))
            return self._copies.are_copies(pair, lambda: (sound(one), sound(other)))

        for number, item in enumerate(found):
            near = embeddings[kept] @ embeddings[number]  # [k]
            proposed = [k for k, score in zip(kept, near, strict=True) if score >= PROPOSED]
            others = (k for k in proposed if found[k].match.content_hash != item.match.content_hash)
            copy_of = next((k for k in others if are_copies(k, number)), None)
            if copy_of is not None:
                best = shown[copy_of].match
                places = (*best.places, *item.match.places)
                shown[copy_of] = replace(shown[copy_of], match=replace(best, places=places))
                continue
            if len(kept) == limit:
                break
            kept.append(number)
            shown[number] = item
        return [shown[number] for number in kept]

    # Telling

    def _tell(self, asked: _Asked, found: Sequence[_Found], options: SearchOptions) -> list[Hit]:
        hits = [_to_hit(item) for item in found]
        is_compound = len(asked.vectors) > 1
        if not hits or (options.least is None and not is_compound):
            return hits
        embeddings = self._vectors([item.match for item in found], options)  # [n, dim]
        near = embeddings @ asked.vectors.T  # [n, c]
        if is_compound:
            hits = [
                replace(hit, clauses=asked.told(row)) for hit, row in zip(hits, near, strict=True)
            ]
        if options.least is None:
            return hits
        chances = self._chances(asked, embeddings, options)  # [n]
        return [
            replace(hit, probability=round(float(chance), 3), verdict=verdict(float(chance)))
            for hit, chance in zip(hits, chances, strict=True)
        ]

    def _explained(self, item: _Found, options: SearchOptions) -> Explanation:
        compared = "plain" if options.aspect is None else f"aspect {options.aspect.name}"
        if item.is_reembedded:
            compared = "heard again"
        heard: tuple[Label, ...] = ()
        if isinstance(self._encoder, Labeller) and (sound := self._read(item.match)):
            (labels,) = self._encoder.labels([sound], LABELS)
            heard = tuple(label for label in labels if label.presence >= FAINT_LABEL)
        return Explanation(item.match.span, compared, heard)

    def _chances(
        self, asked: _Asked, embeddings: Embeddings, options: SearchOptions
    ) -> NDArray[np.float64]:
        """That each is an answer [n]: to all that is wanted, or where that is asked for one by one,
        to the least likely of it; and to nothing that isn't wanted."""

        def chance(vector: Embedding, *, is_sound: bool) -> NDArray[np.float64]:
            curve = SOUND if is_sound else WORDS
            return self._judge.probabilities(embeddings, embeddings @ vector, curve)

        by_clause = [
            chance(vector, is_sound=clause.query.audio is not None)
            for vector, clause in zip(asked.vectors, asked.question.clauses, strict=True)
        ]
        wanted = [p for p, is_wanted in zip(by_clause, asked.wanted, strict=True) if is_wanted]
        chances: NDArray[np.float64] = np.min(wanted, axis=0)
        if options.together is Together.VECTOR and len(wanted) > 1:
            chances = chance(asked.vector, is_sound=asked.has_sound)
        for p, is_wanted in zip(by_clause, asked.wanted, strict=True):
            if not is_wanted:
                chances = chances * (1 - p)
        return chances


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A question with its vectors [c, dim], one a clause."""

    question: Question
    vectors: Embeddings

    def __post_init__(self) -> None:
        if not self.wanted.any():
            raise QueryError(
                "nothing is asked for, only what isn't wanted", hint='as in "rain" --less "music"'
            )

    @property
    def weights(self) -> NDArray[np.float32]:
        """[c]"""
        return np.array([clause.weight for clause in self.question.clauses], dtype=np.float32)

    @property
    def wanted(self) -> NDArray[np.bool_]:
        """[c]"""
        return self.weights > 0

    @property
    def has_sound(self) -> bool:
        return any(clause.query.audio is not None for clause in self.question.clauses)

    @property
    def vector(self) -> Embedding:
        """All that is wanted, less what isn't [dim].

        Raises:
            QueryError: they cancel out.
        """
        wanted = self.weights[self.wanted] @ self.vectors[self.wanted]
        return self._without_unwanted(wanted / max(1e-6, float(np.linalg.norm(wanted))))

    @property
    def each(self) -> Embeddings:
        """Each that is wanted by itself, less what isn't [w, dim].

        Raises:
            QueryError: they cancel out.
        """
        return np.stack([self._without_unwanted(vector) for vector in self.vectors[self.wanted]])

    def _without_unwanted(self, vector: Embedding) -> Embedding:
        rest = vector + LESS * (self.weights[~self.wanted] @ self.vectors[~self.wanted])
        norm = np.linalg.norm(rest)
        if norm < 1e-3:
            raise QueryError(
                "what is wanted and what isn't cancel out", hint="ask for different things"
            )
        unit: Embedding = (rest / norm).astype(np.float32)
        return unit

    def told(self, scores: NDArray[np.floating]) -> tuple[ClauseScore, ...]:
        clauses = zip(self.question.clauses, scores, strict=True)
        return tuple(ClauseScore(c.label, c.weight, float(score)) for c, score in clauses)


@dataclass(frozen=True, slots=True)
class _Found:
    """A match, and what else is known of how it was found."""

    match: Match
    words_score: float | None = None
    fused: float = 0.0
    is_reembedded: bool = False

    def order(self) -> tuple[object, ...]:
        return (-self.fused, -self.match.score, self.match.content_hash, self.match.span)


def _under(aspect: Aspect, question: Question) -> Question:
    """The same question, asked under an aspect."""
    clauses = tuple(
        replace(clause, query=replace(clause.query, instruction=aspect.instruction))
        for clause in question.clauses
    )
    return replace(question, clauses=clauses)


def _key(match: Match) -> tuple[object, ...]:
    return match.content_hash, match.span


def _windows(audio: Waveform | None, window_s: float) -> list[Waveform]:
    """A sound in as few equal pieces as it takes for each to fit into a window."""
    if audio is None or not len(audio.samples):
        return []
    n = max(1, int(np.ceil(audio.duration_s / window_s)))
    return [Waveform(piece, audio.sampling_rate) for piece in np.array_split(audio.samples, n)]


def _to_hit(found: _Found) -> Hit:
    """The answer's first place; the others are its copies."""
    match = found.match
    shown, *copies = match.places
    return Hit(
        path=shown.path,
        library=shown.library,
        span=match.stretch or match.span,
        score=match.score,
        silent=match.silent,
        copies=tuple(copy.path for copy in copies),
        content=match.content,
        place=shown,
        words_score=found.words_score,
        reembedded=found.is_reembedded,
    )
