"""Whether instructions are followed: a query, its target, and documents that only look right.

JSON lines; each side is text, audio, or both, under an instruction, as in a file of pairs:

    {"query": {"audio": "dog_over_violin.wav", "instruction": "what animal is it?"},
     "target": {"audio": "dog_over_rain.wav"},
     "hard_negative": {"audio": "cat_over_violin.wav"},
     "domain": "animal", "group": "recording 7"}

`hard_negative` may be a list; `document` and `negatives` are understood, too, so that any file of
pairs whose negatives are written down can be measured with. Right, where the target is nearer than
every hard negative. Paths are relative to the file.

A file may give its answers away: where the words of a query alone find the target, no ear is
needed, and where its sound alone does, no instruction. So each half of the queries that have two is
measured by itself, too, beside chance.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from alm2vec_search.errors import PairError
from alm2vec_search.evaluation.datasets.captions import require_some
from alm2vec_search.evaluation.sets import ChoiceTask, EvaluationSet
from alm2vec_search.terminal import counted
from trainer.pairs import Side
from trainer.prepare.report import Findings
from trainer.prepare.tables import decoded_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "triplets"
TRIPLETS, SOUND_ALONE, WORDS_ALONE = "triplets", "the sound alone", "the words alone"


class Triplet(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(frozen=True)  # other fields are those of a file of pairs

    query: Side
    target: Side = Field(validation_alias=AliasChoices("target", "document"))
    negatives: Annotated[
        tuple[Side, ...],
        BeforeValidator(lambda given: [given] if isinstance(given, dict) else given),
    ] = Field(
        validation_alias=AliasChoices("hard_negative", "hard_negatives", "negatives"), min_length=1
    )
    domain: str = ""
    group: str | None = Field(None, validation_alias=AliasChoices("group", "clip"))


def read(source: Path, *, name: str | None = None) -> EvaluationSet:
    """
    Args:
        source: the file.
        name: what the set is called in reports; None is the file's own.

    Raises:
        PairError: a line is no triplet; names it.
        TrainingError: it can't be read.
        EvaluationError: it has no triplet whose sounds are there.
    """
    findings = Findings()
    kept: list[Triplet] = []
    for number, line in decoded_lines(source):
        if not line.strip():
            continue
        triplet = _located(_parse(line, source, number), source.parent)
        lacking = [
            side.audio.path
            for side in (triplet.query, triplet.target, *triplet.negatives)
            if side.audio is not None and not side.audio.path.is_file()
        ]
        for path in lacking:
            findings.missing[str(path)] = None
        if not lacking:
            kept.append(triplet.model_copy(update={"group": triplet.group or f"line {number}"}))
    tasks = [_task(TRIPLETS, kept, lambda query: query)]
    both = [triplet for triplet in kept if _has_both(triplet.query)]
    if both:
        tasks += [_task(SOUND_ALONE, both, _sound_alone), _task(WORDS_ALONE, both, _words_alone)]
    found = EvaluationSet(
        KEY,
        name or source.stem,
        tuple(tasks),
        counted(len(kept), "triplet") + _choices(kept),
        tuple(findings.missing),
        tuple(findings.set_aside),
    )
    return require_some(found, source)


def _parse(line: str, file: Path, number: int) -> Triplet:
    try:
        return Triplet.model_validate(json.loads(line))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        reason = f"{field + ': ' if field else ''}{first['msg'].removeprefix('Value error, ')}"
        raise PairError(reason, file=file, line=number, hint=_HINT) from error
    except (ValueError, RecursionError) as error:
        raise PairError("not JSON", file=file, line=number, hint=_HINT) from error


_HINT = "a line has a query, a target, and a hard_negative, each with text, audio, or both"


def _located(triplet: Triplet, folder: Path) -> Triplet:
    def located(side: Side) -> Side:
        if side.audio is None:
            return side
        audio = side.audio.model_copy(update={"path": folder.absolute() / side.audio.path})
        return side.model_copy(update={"audio": audio})

    return triplet.model_copy(
        update={
            "query": located(triplet.query),
            "target": located(triplet.target),
            "negatives": tuple(map(located, triplet.negatives)),
        }
    )


def _task(name: str, triplets: list[Triplet], asked: Callable[[Side], Side]) -> ChoiceTask:
    has_domains = any(triplet.domain for triplet in triplets)
    return ChoiceTask(
        name=name,
        queries=tuple(asked(triplet.query) for triplet in triplets),
        choices=tuple((triplet.target, *triplet.negatives) for triplet in triplets),
        right=(0,) * len(triplets),
        groups=tuple(str(triplet.group) for triplet in triplets),
        domains=tuple(t.domain or "other" for t in triplets) if has_domains else (),
    )


def _has_both(query: Side) -> bool:
    return query.audio is not None and bool(query.text or query.instruction)


def _sound_alone(query: Side) -> Side:
    return Side(audio=query.audio)


def _words_alone(query: Side) -> Side:
    return Side(text=query.text or query.instruction)


def _choices(triplets: list[Triplet]) -> str:
    sizes = Counter(1 + len(triplet.negatives) for triplet in triplets)
    return f", each of {' or '.join(map(str, sorted(sizes)))}" if sizes else ""
