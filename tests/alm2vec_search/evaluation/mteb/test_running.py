"""From tasks of mteb to a run, by way of mteb's cache."""

from __future__ import annotations

from math import log2
from pathlib import Path
from typing import TYPE_CHECKING

import datasets
import huggingface_hub.constants
import mteb
import pytest
from mteb.mocks.mock_tasks import (
    MockAny2AnyRetrievalA2ATask,
    MockAudioClassification,
    MockAudioClusteringTask,
    MockAudioMultilabelClassificationTask,
    MockAudioPairClassification,
    MockAudioReranking,
)
from toy_mteb import ToneNaming, graded, tone_retrieval, write_tones

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.mteb.encoder import MtebEncoder
from alm2vec_search.evaluation.mteb.meta import model_meta
from alm2vec_search.evaluation.mteb.running import measure
from alm2vec_search.evaluation.mteb.search import MtebSearch
from alm2vec_search.evaluation.mteb.tasks import Instructions, find_task
from alm2vec_search.evaluation.runs import Figure, read_run, write_run
from alm2vec_search.testing import NOTES_HZ, FakeEncoder
from indexer.chunker import Chunking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alm2vec_search.evaluation.runs import Run


@pytest.fixture(autouse=True)
def mteb_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path / "mteb-cache"))
    return tmp_path / "mteb-cache"


@pytest.fixture
def vectors() -> MtebEncoder:
    return MtebEncoder(FakeEncoder(), model_meta(FakeEncoder()))


@pytest.fixture
def search() -> Iterator[MtebSearch]:
    encoder = FakeEncoder()
    with MtebSearch(encoder, model_meta(encoder), chunking=Chunking()) as search:
        yield search


def figures(run: Run) -> dict[str, Figure]:
    return {figure.metric: figure for figure in run.tasks[0].figures}


def test_a_run_has_all_figures_the_main_score_first(vectors: MtebEncoder, tmp_path: Path) -> None:
    said: list[str] = []

    run = measure([graded(tmp_path)], vectors, command="alm2vec eval mteb", announce=said.append)

    assert (run.key, run.set_name, run.system.kind) == ("mteb", "ToneRetrieval", "mteb")
    assert run.system.name == "fake"
    assert run.system.fingerprint == "fake-float32"
    assert run.system.detail == "vectors, under the instructions of the model"
    (result,) = run.tasks
    assert (result.name, result.queries, result.pool) == ("ToneRetrieval", 3, 3)
    assert result.figures[0].metric == "ndcg@10"
    assert result.figures[0].value == pytest.approx((1 + 1 / log2(3) + 1 / 2) / 3, abs=1e-5)
    assert figures(run)["mrr@10"].value == pytest.approx((1 + 1 / 2 + 1 / 3) / 3, abs=1e-5)
    assert figures(run)["p@3"].value == pytest.approx(1 / 3, abs=1e-5)
    assert {figure.n for figure in result.figures} == {3}
    assert run.cost.audio_s == pytest.approx(3.0)
    assert "ToneRetrieval: its main score is ndcg@10" in run.notes
    assert said == ["ToneRetrieval (1 of 1)"]
    write_run(run, tmp_path / "run.json")
    assert read_run(tmp_path / "run.json") == run


def test_the_same_through_the_index(search: MtebSearch, tmp_path: Path) -> None:
    run = measure([graded(tmp_path)], search)

    assert figures(run)["mrr@10"].value == pytest.approx((1 + 1 / 2 + 1 / 3) / 3, abs=1e-5)
    assert run.system.detail == (
        "through the index, in chunks of 10s/10s, under the instructions of the model"
    )
    assert run.cost.index_s > 0


def test_what_no_search_can_do_is_left_out(search: MtebSearch, tmp_path: Path) -> None:
    texts = [{"id": "d", "text": "low", "title": ""}]
    queries = [{"id": "q", "audio": write_tones(tmp_path / "q.wav", "low")}]
    to_text = tone_retrieval(queries, texts, {"q": ["d"]}, name="ToText", category="a2t")

    run = measure([to_text, graded(tmp_path)], search)

    assert [result.name for result in run.tasks] == ["ToneRetrieval"]
    (reason,) = run.set_aside
    assert reason == "ToText: its documents are text; only sounds can be indexed"
    with pytest.raises(EvaluationError, match="ToText: its documents are text"):
        measure([to_text], search)


def test_what_cannot_be_read_is_in_the_run(search: MtebSearch, tmp_path: Path) -> None:
    (tmp_path / "torn.wav").write_bytes(b"RIFF and nothing else")
    corpus = [{"id": "torn", "audio": str(tmp_path / "torn.wav")}]
    corpus.append({"id": "low", "audio": write_tones(tmp_path / "low.wav", "low")})
    task = tone_retrieval([{"id": "q", "text": "low"}], corpus, {"q": ["low"]})

    run = measure([task], search)

    assert run.unreadable == ("torn",)
    assert any("1 document can't be read" in n and "torn: " in n for n in run.notes)
    assert run.tasks[0].pool == 2


def test_vectors_of_all_are_needed(vectors: MtebEncoder, tmp_path: Path) -> None:
    (tmp_path / "torn.wav").write_bytes(b"RIFF and nothing else")
    corpus = [{"id": "torn", "audio": str(tmp_path / "torn.wav")}]
    task = tone_retrieval([{"id": "q", "text": "low"}], corpus, {"q": ["torn"]})

    with pytest.raises(EvaluationError, match=r"torn\.wav: "):
        measure([task], vectors)


def test_a_task_of_another_kind(vectors: MtebEncoder, tmp_path: Path) -> None:
    sounds = [(Path(write_tones(tmp_path / f"{n}.wav", n)), n) for n in NOTES_HZ]

    run = measure([ToneNaming(sounds), graded(tmp_path)], vectors)

    assert run.set_name == "2 tasks of MTEB"
    naming, retrieval = run.tasks
    assert (naming.name, naming.queries, naming.pool) == ("ToneNaming", 3, None)
    assert (naming.figures[0].metric, naming.figures[0].value) == ("accuracy", 1.0)
    assert naming.figures[0].of == "samples"
    assert retrieval.figures[0].of == "queries"


@pytest.mark.parametrize(
    ("kind", "main_score"),
    [
        (MockAudioClassification, "accuracy"),
        (MockAudioMultilabelClassificationTask, "accuracy"),
        (MockAudioClusteringTask, "v_measure"),
        (MockAudioPairClassification, "max_ap"),
        (MockAudioReranking, "map@1"),
        (MockAny2AnyRetrievalA2ATask, "ndcg@10"),
    ],
)
def test_every_kind_of_task_about_sounds_runs(
    kind: type[mteb.AbsTask], main_score: str, vectors: MtebEncoder
) -> None:
    run = measure([kind()], vectors)

    assert run.tasks[0].figures[0].metric == main_score
    assert run.tasks[0].queries > 0
    assert vectors.spent.audio_s > 0


def test_mteb_keeps_its_own_result(vectors: MtebEncoder, mteb_cache: Path, tmp_path: Path) -> None:
    run = measure([graded(tmp_path)], vectors)

    folder = mteb_cache / "results" / "local__fake" / "fake-float32"
    kept = mteb.TaskResult.from_disk(folder / "ToneRetrieval.json")
    assert kept.main_score == run.tasks[0].figures[0].value


def test_what_was_measured_is_not_measured_again(vectors: MtebEncoder, tmp_path: Path) -> None:
    first = measure([graded(tmp_path)], vectors)
    task = graded(tmp_path)

    second = measure([task], vectors)

    assert task.loads == 0
    assert "ToneRetrieval: from mteb's cache, where it was measured before" in second.notes
    values = {metric: figure.value for metric, figure in figures(first).items()}
    for metric, figure in figures(second).items():
        assert figure.value == pytest.approx(values[metric], abs=1e-5)
    measure([task], vectors, again=True)
    assert task.loads == 1
    other_way = MtebEncoder(
        vectors.encoder, model_meta(vectors.encoder), instructions=Instructions.TASK
    )
    measure([task], other_way)
    assert task.loads == 2


def test_its_data_does_not_stay_in_memory(vectors: MtebEncoder, tmp_path: Path) -> None:
    task = graded(tmp_path)

    measure([task], vectors)

    assert not task.data_loaded


def test_beta_and_later_versions_are_noted(
    vectors: MtebEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.warns(UserWarning, match="beta"):
        task = graded(tmp_path, is_beta=True, superseded_by="ToneRetrieval.v2")
    caplog.clear()

    run = measure([task], vectors)

    assert any("in beta" in note for note in run.notes)
    assert not caplog.records
    assert "ToneRetrieval has a later version: ToneRetrieval.v2" in run.notes


def test_data_that_is_not_here_is_named(
    vectors: MtebEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "data-sets")

    with pytest.raises(EvaluationError) as error:
        measure([find_task("ClothoT2ARetrieval.v2")], vectors)

    assert "ClothoT2ARetrieval.v2: its data set lxercode/clotho_t2a_v2" in str(error.value)
    assert str(tmp_path / "data-sets") in str(error.value.hint)


def test_nothing_is_no_measurement(vectors: MtebEncoder) -> None:
    with pytest.raises(EvaluationError, match="no task"):
        measure([], vectors)
