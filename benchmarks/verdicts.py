"""How often a verdict is right, and what it is best based on.

    python benchmarks/verdicts.py --esc10 ESC-10 --gcompris SOUNDS --labels LABELS.csv

Collections: fold 5 of ESC-10, the named sounds of GCompris (`quality.py` says where both are from),
both together, and each class of ESC-10 by itself. Questions in words: each name that is there, and
28 that nothing answers. Questions by sound: each clip of ESC-10 in a collection without it, with
and without its class, and each of GCompris in one of ESC-10. An answer is one of the first five,
and right if it has the name that was asked for.

Three bases for a verdict are compared by the area under the curve (how often a right answer is
above a wrong one): the cosine, how far it rises above the rest of the collection, and how far above
the scores of the same sound for a hundred everyday sounds. Then the curves of `verdicts.py` are
fitted to the last, on four fifths of the questions at a time, and what the verdicts came to on the
fifth is counted.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from quality import read_esc10, read_named
from questions import cut
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from alm2vec_search.audio import decode
from alm2vec_search.domain import Verdict, Waveform
from alm2vec_search.errors import Alm2VecError
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import BUNDLED, find_model
from alm2vec_search.verdicts import deviations, everyday_sounds, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FOLDS = 5
ANSWERS = 5
SAME = {"dog barking": "dog bark"}
ABSENT = (
    *("violin solo", "a saxophone quartet", "an airplane taking off", "a telephone ringing"),
    *("typing on a keyboard", "glass breaking", "church bells", "footsteps on gravel"),
    *("a gunshot", "opera singing", "a door slamming", "water running from a tap", "a motorcycle"),
    *("thunder", "whale song", "vacuum cleaner", "a choir", "laughter", "crowd cheering"),
    *("frying food", "a siren", "snoring", "wind in trees", "fireworks", "a sewing machine"),
    *("bagpipes", "a basketball bouncing", "scissors"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the first answers to a question."""

    question: str
    is_right: bool
    cosine: float
    above_the_rest: float  # standard deviations above the collection's mean
    above_everyday: float  # above the everyday sounds' mean


class Sounds:
    """Labelled sounds with their vectors [n, dim]."""

    def __init__(self, vectors: NDArray[np.float32], labels: Sequence[str]) -> None:
        self.vectors = vectors
        self.labels = list(labels)

    def __add__(self, other: Sounds) -> Sounds:
        return Sounds(np.concatenate([self.vectors, other.vectors]), [*self.labels, *other.labels])

    def but(self, rows: Sequence[int]) -> Sounds:
        kept = [row for row in range(len(self.labels)) if row not in set(rows)]
        return Sounds(self.vectors[kept], [self.labels[row] for row in kept])

    def rows_of(self, label: str) -> list[int]:
        return [row for row, one in enumerate(self.labels) if one == label]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--esc10", type=Path, metavar="DIR", required=True)
    parser.add_argument("--gcompris", type=Path, metavar="DIR", required=True)
    parser.add_argument("--labels", type=Path, metavar="CSV", required=True)
    parser.add_argument("--model", default=BUNDLED, help="a name, or a folder")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        encoder = ALM2VecEncoder(find_model(args.model), dtype="float32")
        esc10 = embedded(encoder, read_esc10(args.esc10, [5]))
        named = embedded(encoder, read_named(args.gcompris, args.labels))
        everyday = encoder.encode_query(text=everyday_sounds())  # [m, dim]
        report("questions in words", in_words(encoder, esc10, named, everyday))
        report("questions by sound", by_sound(esc10, named, everyday))
    except (Alm2VecError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


def embedded(encoder: ALM2VecEncoder, sounds: Sequence[object]) -> Sounds:
    waveforms = [
        Waveform(cut(decode(sound.path, 16_000).samples), 16_000)  # type: ignore[attr-defined]
        for sound in sounds
    ]
    labels = [SAME.get(s.label, s.label) for s in sounds]  # type: ignore[attr-defined]
    return Sounds(encoder.encode_document(audio=waveforms), labels)


def in_words(
    encoder: ALM2VecEncoder, esc10: Sounds, named: Sounds, everyday: NDArray[np.float32]
) -> list[Answer]:
    classes = sorted(set(esc10.labels))
    collections = [esc10, named, esc10 + named]
    answers = []
    for sounds in collections:
        there = sorted(set(sounds.labels))
        texts = there + [text for text in ABSENT if text not in there]
        for text, vector in zip(texts, encoder.encode_query(text=texts), strict=True):
            answers += first_answers(text, vector, sounds, everyday)
    for label in classes:
        others = [row for row, one in enumerate(esc10.labels) if one != label]
        for text, vector in zip(classes, encoder.encode_query(text=classes), strict=True):
            answers += first_answers(text, vector, esc10.but(others), everyday)
    return answers


def by_sound(esc10: Sounds, named: Sounds, everyday: NDArray[np.float32]) -> list[Answer]:
    answers = []
    for row, label in enumerate(esc10.labels):
        vector = esc10.vectors[row]
        answers += first_answers(label, vector, esc10.but([row]), everyday)
        answers += first_answers(label, vector, esc10.but(esc10.rows_of(label)), everyday)
    for row, label in enumerate(named.labels):
        answers += first_answers(label, named.vectors[row], esc10, everyday)
    return answers


def first_answers(
    question: str, vector: NDArray[np.float32], sounds: Sounds, everyday: NDArray[np.float32]
) -> list[Answer]:
    scores = sounds.vectors @ vector  # [n]
    best = np.argsort(-scores)[:ANSWERS]
    rest = (scores[best] - scores.mean()) / scores.std()
    above = deviations(sounds.vectors[best] @ everyday.T, scores[best])
    return [
        Answer(question, sounds.labels[row] == question, float(scores[row]), float(r), float(a))
        for row, r, a in zip(best, rest, above, strict=True)
    ]


def report(what: str, answers: Sequence[Answer]) -> None:
    right = np.array([answer.is_right for answer in answers])
    print(f"{what}: {len(answers)} answers, {right.mean():.2f} of them right")
    for name in ("cosine", "above_the_rest", "above_everyday"):
        area = roc_auc_score(right, [getattr(answer, name) for answer in answers])
        print(f"  {name.replace('_', ' '):16}  area under the curve {area:.3f}")
    above = np.array([[answer.above_everyday] for answer in answers])
    curve = LogisticRegression(C=10).fit(above, right)
    print(f"  curve: slope {curve.coef_[0, 0]:.2f}, intercept {curve.intercept_[0]:.2f}")
    questions = sorted({answer.question for answer in answers})
    fold = {question: number % FOLDS for number, question in enumerate(questions)}
    of = np.array([fold[answer.question] for answer in answers])
    chances = np.zeros(len(answers))
    for number in range(FOLDS):
        fitted = LogisticRegression(C=10).fit(above[of != number], right[of != number])
        chances[of == number] = fitted.predict_proba(above[of == number])[:, 1]
    told = [verdict(chance) for chance in chances]
    for one in Verdict:
        rows = np.array([each is one for each in told])
        print(f"  {one.value:6}  {rows.sum():4} answers, {right[rows].mean():.2f} of them right")


if __name__ == "__main__":
    main()
