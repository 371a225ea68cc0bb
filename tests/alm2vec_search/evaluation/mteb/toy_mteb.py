"""Tasks of mteb's own classes over a handful of tones: what they hold is given, not fetched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import mteb
import numpy as np
import soundfile
from datasets import Audio, Dataset
from mteb.abstasks import AbsTaskRetrieval, AbsTaskZeroShotClassification

from alm2vec_search.evaluation.mteb.audio import our_decoders
from alm2vec_search.testing import NOTES_HZ, tone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from alm2vec_search.evaluation.mteb.encoder import MtebEncoder
    from alm2vec_search.evaluation.mteb.search import MtebSearch

SAMPLING_RATE = 16_000
SAMPLES = Path(__file__).parents[4] / "samples"
CLIPS = {
    "a dog barks": SAMPLES / "animals/REC_0042.wav",
    "a stream": SAMPLES / "water/creek.ogg",
    "a drum": SAMPLES / "instruments/drum_break.ogg",
}


def metadata(name: str, **fields: Any) -> mteb.TaskMetadata:
    """Of a task that is made up."""
    said: dict[str, Any] = {
        "name": name,
        "description": "Tones.",
        "reference": None,
        "dataset": {"path": "nobody/tones", "revision": "1"},
        "type": "Any2AnyRetrieval",
        "category": "t2a",
        "modalities": ["audio", "text"],
        "eval_splits": ["test"],
        "eval_langs": ["eng-Latn"],
        "main_score": "ndcg_at_10",
        "date": ("2026-01-01", "2026-01-02"),
        "domains": [],
        "task_subtypes": [],
        "license": "cc0-1.0",
        "annotations_creators": "derived",
        "dialect": [],
        "sample_creation": "created",
        "bibtex_citation": "",
    }
    return mteb.TaskMetadata(**(said | fields))


class ToneRetrieval(AbsTaskRetrieval):
    """Holds what `tone_retrieval` gave it."""

    given: tuple[Any, ...]
    loads = 0

    def load_data(self, **_options: Any) -> None:
        queries, corpus, relevant, top_ranked = self.given
        split = {
            "queries": with_audio(queries),
            "corpus": with_audio(corpus),
            "relevant_docs": {query: dict.fromkeys(ids, 1) for query, ids in relevant.items()},
            "top_ranked": top_ranked,
        }
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True
        self.loads += 1


def tone_retrieval(
    queries: Sequence[Mapping[str, Any]],
    corpus: Sequence[Mapping[str, Any]],
    relevant: Mapping[str, Sequence[str]],
    *,
    top_ranked: Mapping[str, Sequence[str]] | None = None,
    **fields: Any,
) -> ToneRetrieval:
    """A task; mteb wants each to be a class of its own.

    Args:
        queries, corpus: rows with `id`, and `text`, `audio` (a file) or both.
        relevant: for each query's id, the right documents.
        top_ranked: for each query's id, which documents are ranked; None is all.
        fields: of its metadata.
    """
    told = {"metadata": metadata(fields.pop("name", "ToneRetrieval"), **fields)}
    kind: type[ToneRetrieval] = type("AToneRetrieval", (ToneRetrieval,), told)
    task = kind()
    task.given = (queries, corpus, relevant, top_ranked)
    return task


class ToneNaming(AbsTaskZeroShotClassification):
    """Which of the notes is it?"""

    metadata = metadata(
        "ToneNaming", type="AudioZeroshotClassification", category="a2t", main_score="accuracy"
    )
    input_column_name = "audio"
    label_column_name = "label"

    def __init__(self, sounds: Sequence[tuple[Path, str]]) -> None:
        super().__init__()
        self.sounds = sounds

    def load_data(self, **_options: Any) -> None:
        rows = [{"audio": str(path), "label": list(NOTES_HZ).index(n)} for path, n in self.sounds]
        self.dataset = {"test": with_audio(rows)}
        self.data_loaded = True

    def get_candidate_labels(self) -> list[str]:
        return list(NOTES_HZ)


def with_audio(rows: Sequence[Mapping[str, Any]]) -> Dataset:
    """As data sets of a hub are: a sound is a feature, and stored as the file it was."""
    dataset = Dataset.from_list([dict(row) for row in rows])
    if "audio" in dataset.column_names:
        dataset = dataset.cast_column("audio", Audio())
    return dataset


def write_tones(path: Path, *notes: str, duration_s: float = 1.0) -> str:
    """A file with all these notes at once."""
    tones = [tone(NOTES_HZ[note], duration_s, SAMPLING_RATE, peak=0.3) for note in notes]
    return write(path, np.sum(tones, axis=0))


def write_sequence(path: Path, *notes: str, each_s: float) -> str:
    """A file with one note after the other."""
    tones = [tone(NOTES_HZ[note], each_s, SAMPLING_RATE, peak=0.3) for note in notes]
    return write(path, np.concatenate(tones))


def write(path: Path, samples: Any) -> str:
    soundfile.write(path, samples, SAMPLING_RATE)
    return str(path)


def graded(folder: Path, **fields: Any) -> ToneRetrieval:
    """Three documents, of which one is `low` alone, one with `middle` and one without; and three
    queries for `low`, whose right documents are those at the first, second and third place."""
    corpus = [
        {"id": "none of it", "audio": write_tones(folder / "a.wav", "middle")},
        {"id": "some of it", "audio": write_tones(folder / "b.wav", "low", "middle")},
        {"id": "all of it", "audio": write_tones(folder / "c.wav", "low")},
    ]
    queries = [{"id": f"q{place}", "text": "low"} for place in (1, 2, 3)]
    relevant = {"q1": ["all of it"], "q2": ["some of it"], "q3": ["none of it"]}
    return tone_retrieval(queries, corpus, relevant, **fields)


def scores_of(model: MtebEncoder | MtebSearch, task: mteb.AbsTask) -> dict[str, Any]:
    """What mteb makes of a task, by the names that it has for its measures."""
    with our_decoders():
        result = mteb.evaluate(
            model,
            task,
            co2_tracker=False,
            cache=None,
            encode_kwargs={"batch_size": 2, "show_progress_bar": False},
            show_progress_bar=False,
            num_proc=1,
        )
    (scores,) = result.task_results[0].scores["test"]
    return dict(scores)
