"""A set of choices and a model that answers → a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from alm2vec_search.errors import AudioError, EvaluationError
from alm2vec_search.evaluation.answers.prompting import picked
from alm2vec_search.evaluation.answers.questions import question_of
from alm2vec_search.evaluation.measuring import (
    ACCURACY,
    CHANCE,
    WORST,
    content_of,
    figures_of,
    numbered,
)
from alm2vec_search.evaluation.running import short_name
from alm2vec_search.evaluation.runs import Content, Cost, System, TaskResult, Worst
from alm2vec_search.evaluation.sets import ChoiceTask
from alm2vec_search.settings import usable_cores
from trainer.hearing import hear

if TYPE_CHECKING:
    from alm2vec_search.evaluation.answers.kept import KeptAnswers
    from alm2vec_search.evaluation.answers.questions import Answerer, ChoiceQuestion
    from alm2vec_search.evaluation.embedding import Progress
    from alm2vec_search.evaluation.running import Recording
    from alm2vec_search.evaluation.runs import Run
    from alm2vec_search.evaluation.sets import EvaluationSet


def by_answers(
    measured: EvaluationSet,
    answerer: Answerer,
    kept: KeptAnswers,
    recording: Recording,
    *,
    max_audio_s: float,
    load_s: float,
    progress: Progress,
) -> Run:
    """Ask every question in words; right, where the answer means the right option and no other.

    An answer that means none, or more than one, is wrong, and counted by itself in the notes.

    Args:
        max_audio_s: the most of a sound that is heard, from its start.
        load_s: what it took to load the model.

    Raises:
        EvaluationError: the set has no choices in words, or the model can't be asked.
        ModelError: the model can't answer such a question.
    """
    (task,) = measured.tasks
    if not isinstance(task, ChoiceTask):
        raise EvaluationError(f"{measured.name} has no options to choose from")
    started = time.perf_counter()
    asked: list[int] = []
    answers: list[str] = []
    options: list[int | None] = []
    unreadable: list[str] = []
    audio_s = 0.0
    for row, (query, choices) in enumerate(zip(task.queries, task.choices, strict=True)):
        progress(row, len(task.queries))
        sound = None
        if query.audio is not None:
            try:
                sound = hear(query.audio, answerer.sampling_rate, max_audio_s, 0.0)
            except AudioError as error:
                unreadable.append(f"{recording.shown(query.audio.path)}: {error.reason}")
                continue
            audio_s += sound.duration_s
        question: ChoiceQuestion = question_of(query, choices, sound)
        said = kept.answer(question)
        asked.append(row)
        answers.append(said)
        options.append(picked(said, question.options))
    progress(len(task.queries), len(task.queries))
    results = [_result(task.of(asked), answers, options, recording)] if asked else []
    cost = Cost(
        audio_s=audio_s,
        load_s=load_s,
        total_s=load_s + time.perf_counter() - started,
        cores=usable_cores(),
    )
    system = System(
        kind="answers",
        name=short_name(answerer.name),
        detail="answers in words",
        device=answerer.device,
    )
    run = recording.run(measured, system, results, cost, unreadable)
    undecided = options.count(None)
    if not undecided:
        return run
    note = f"{undecided} of {len(asked)} answers name no option, or more than one: they are wrong"
    return run.model_copy(update={"notes": (*run.notes, note)})


def _result(
    task: ChoiceTask, answers: list[str], options: list[int | None], recording: Recording
) -> TaskResult:
    is_right = [option == right for option, right in zip(options, task.right, strict=True)]
    values = {
        ACCURACY: list(map(float, is_right)),
        CHANCE: [1 / len(choices) for choices in task.choices],
    }
    wrong = [row for row, right in enumerate(is_right) if not right]
    return TaskResult(
        name=task.name,
        queries=len(task.queries),
        figures=figures_of(task, values),
        places=tuple(0 if right else None for right in is_right),
        groups=numbered(task.groups),
        worst=tuple(
            Worst(
                query=content_of(task.queries[row], recording.shown),
                wanted=(content_of(task.choices[row][task.right[row]], recording.shown),),
                found=(Content(text=answers[row]),),
            )
            for row in wrong[:WORST]
        ),
    )
