"""The whole search under mteb's own evaluation: real files, a real index, the real `Searcher`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mteb.models import EncoderProtocol, SearchProtocol
from toy_mteb import (
    CLIPS,
    ToneNaming,
    ToneRetrieval,
    graded,
    scores_of,
    tone_retrieval,
    write,
    write_sequence,
    write_tones,
)

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.mteb.audio import our_decoders
from alm2vec_search.evaluation.mteb.encoder import MtebEncoder
from alm2vec_search.evaluation.mteb.meta import model_meta
from alm2vec_search.evaluation.mteb.search import MtebSearch
from alm2vec_search.evaluation.mteb.tasks import Instructions
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import find_model
from alm2vec_search.testing import NOTES_HZ, FakeEncoder, tone
from indexer.chunker import Chunking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNKING = Chunking(window_s=2, hop_s=2)


@pytest.fixture
def search() -> Iterator[MtebSearch]:
    encoder = FakeEncoder()
    with MtebSearch(encoder, model_meta(encoder), chunking=CHUNKING) as search:
        yield search


def found(
    search: MtebSearch, task: ToneRetrieval, *, top_k: int = 10
) -> dict[str, dict[str, float]]:
    """What is found, as mteb gets it."""
    task.load_data()
    split = task.dataset["default"]["test"]
    said: dict[str, Any] = {
        "task_metadata": task.metadata,
        "hf_split": "test",
        "hf_subset": "default",
        "encode_kwargs": {},
        "num_proc": 1,
    }
    with our_decoders():
        search.index(split["corpus"], **said)
        return search.search(split["queries"], top_k=top_k, top_ranked=split["top_ranked"], **said)


def test_it_is_a_search_and_no_encoder(search: MtebSearch) -> None:
    assert isinstance(search, SearchProtocol)
    assert not isinstance(search, EncoderProtocol)


def test_short_files_are_ranked_as_their_vectors_are(search: MtebSearch, tmp_path: Path) -> None:
    by_search = scores_of(search, graded(tmp_path))
    by_vectors = scores_of(
        MtebEncoder(search.encoder, model_meta(search.encoder)), graded(tmp_path)
    )

    for metric in ("ndcg_at_10", "mrr_at_10", "map_at_10", "recall_at_1"):
        assert by_search[metric] == by_vectors[metric] < 1
    assert search.spent.audio_s == pytest.approx(3.0)
    assert search.spent.index_s > 0
    assert search.spent.search_s > 0


def test_chunks_find_what_is_late_in_a_long_file(search: MtebSearch, tmp_path: Path) -> None:
    late = write_sequence(tmp_path / "late.wav", "low", "low", "low", "high", each_s=2)
    blend = write_tones(tmp_path / "blend.wav", "middle", "high")
    corpus = [{"id": "late", "audio": late}, {"id": "blend", "audio": blend}]
    task = tone_retrieval([{"id": "q", "text": "high"}], corpus, {"q": ["late"]})

    assert scores_of(search, task)["recall_at_1"] == 1
    # One vector of a whole file hears its beginning.
    by_vectors = MtebEncoder(search.encoder, model_meta(search.encoder))
    assert scores_of(by_vectors, task)["recall_at_1"] == 0


def test_a_sound_or_words_with_a_sound_find_files(search: MtebSearch, tmp_path: Path) -> None:
    files = {n: write_tones(tmp_path / f"{n}.wav", n) for n in NOTES_HZ}
    files["low and high"] = write_tones(tmp_path / "both.wav", "low", "high")
    corpus = [{"id": name, "audio": path} for name, path in files.items()]
    like = tone_retrieval(
        [{"id": "q", "audio": write_tones(tmp_path / "q.wav", "high", duration_s=0.8)}],
        corpus,
        {"q": ["high"]},
        category="a2a",
        modalities=["audio"],
    )
    composed = tone_retrieval(
        [{"id": "q", "text": "and high", "audio": files["low"]}],
        corpus,
        {"q": ["low and high"]},
        category="at2a",
    )

    assert scores_of(search, like)["recall_at_1"] == 1
    assert scores_of(search, composed)["recall_at_1"] == 1


def test_no_more_than_asked_for_are_found(search: MtebSearch, tmp_path: Path) -> None:
    hits = found(search, graded(tmp_path), top_k=2)

    assert list(hits["q1"]) == ["all of it", "some of it"]
    best, second = hits["q1"].values()
    assert best > second


def test_only_candidates_are_ranked_where_there_are_some(
    search: MtebSearch, tmp_path: Path
) -> None:
    candidates = {
        "q1": ["none of it", "some of it"],
        "q2": ["none of it"],
        "q3": ["none of it", "all of it"],
    }
    task = graded(tmp_path, top_ranked=candidates)

    hits = found(search, task, top_k=1)

    assert {query: list(ids) for query, ids in hits.items()} == {
        "q1": ["some of it"],
        "q2": ["none of it"],
        "q3": ["all of it"],
    }


def test_copies_stand_behind_each_other(search: MtebSearch, tmp_path: Path) -> None:
    low = write_tones(tmp_path / "low.wav", "low")
    corpus = [{"id": "one", "audio": low}, {"id": "other", "audio": low}]
    corpus.append({"id": "high", "audio": write_tones(tmp_path / "high.wav", "high")})
    task = tone_retrieval([{"id": "q", "text": "low"}], corpus, {"q": ["one"]})

    scores = found(search, task)["q"]

    assert set(list(scores)[:2]) == {"one", "other"}
    assert len(set(scores.values())) == 3  # no ties that somebody else would break
    assert scores["one"] == pytest.approx(scores["other"], abs=1e-5)


def test_what_is_silent_is_not_found(search: MtebSearch, tmp_path: Path) -> None:
    silence = write(tmp_path / "silence.wav", tone(200, 1.0, 16_000, peak=1e-4))
    task = tone_retrieval(
        [{"id": "q", "text": "low"}], [{"id": "silence", "audio": silence}], {"q": ["silence"]}
    )

    assert found(search, task) == {"q": {}}
    assert scores_of(search, task)["recall_at_10"] == 0


def test_an_empty_query_finds_nothing(search: MtebSearch, tmp_path: Path) -> None:
    corpus = [{"id": "low", "audio": write_tones(tmp_path / "low.wav", "low")}]
    task = tone_retrieval([{"id": "q", "text": " "}], corpus, {"q": ["low"]})

    assert found(search, task) == {"q": {}}


def test_what_cannot_be_read_is_told_and_not_found(search: MtebSearch, tmp_path: Path) -> None:
    (tmp_path / "torn.wav").write_bytes(b"RIFF and nothing else")
    corpus = [{"id": "low", "audio": write_tones(tmp_path / "low.wav", "low")}]
    torn = {"id": "torn", "audio": str(tmp_path / "torn.wav")}
    queries = [{"id": "q", "text": "low"}]

    assert list(found(search, tone_retrieval(queries, [*corpus, torn], {"q": ["low"]}))["q"]) == [
        "low"
    ]
    assert [name for name, _ in search.unreadable] == ["torn"]

    with pytest.raises(EvaluationError, match="ToneRetrieval: not one document can be read"):
        found(search, tone_retrieval(queries, [torn], {"q": ["torn"]}))


def test_a_corpus_takes_the_place_of_the_one_before(search: MtebSearch, tmp_path: Path) -> None:
    found(search, graded(tmp_path))
    corpus = [{"id": "another", "audio": write_tones(tmp_path / "d.wav", "low")}]
    task = tone_retrieval([{"id": "q", "text": "low"}], corpus, {"q": ["another"]})

    assert list(found(search, task)["q"]) == ["another"]


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    encoder = FakeEncoder()

    with MtebSearch(encoder, model_meta(encoder), chunking=CHUNKING) as search:
        found(search, graded(tmp_path))
        assert len(list((tmp_path / "temporary").iterdir())) == 1

    assert not list((tmp_path / "temporary").iterdir())
    with pytest.raises(EvaluationError, match="nothing was indexed"):
        search.search(
            [], task_metadata=graded(tmp_path).metadata, hf_split="", hf_subset="", top_k=1
        )


def test_texts_cannot_be_indexed(search: MtebSearch) -> None:
    corpus = [{"id": "d", "text": "low"}]
    task = tone_retrieval([{"id": "q", "text": "low"}], corpus, {"q": ["d"]}, category="t2t")
    naming = ToneNaming([])

    with pytest.raises(EvaluationError, match="ToneRetrieval: its documents are text"):
        found(search, task)
    with pytest.raises(EvaluationError, match="ToneNaming is no retrieval"):
        search.index([], task_metadata=naming.metadata, hf_split="test", hf_subset="default")


def test_ways_do_not_mix_in_the_cache() -> None:
    encoder = FakeEncoder()

    def name(chunking: Chunking, instructions: Instructions) -> str | None:
        search = MtebSearch(
            encoder, model_meta(encoder), chunking=chunking, instructions=instructions
        )
        return search.mteb_model_meta.experiment_name

    names = {
        name(CHUNKING, Instructions.MODEL),
        name(CHUNKING, Instructions.TASK),
        name(Chunking(), Instructions.MODEL),
    }
    assert len(names) == 3
    assert None not in names  # that would be the vectors'


def test_under_the_tasks_instruction_the_best_are_heard_again(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    heard: list[str | None] = []

    class Listening(FakeEncoder):
        def encode_document(self, **inputs: Any) -> Any:
            heard.append(inputs.get("instruction"))
            return encoder.encode_document(**inputs)

    listening = Listening()
    meta = model_meta(listening)
    task = graded(tmp_path, prompt={"query": "Find it."})
    with MtebSearch(listening, meta, chunking=CHUNKING, instructions=Instructions.TASK) as search:
        hits = found(search, task)

    assert heard.count("Find it.") == 3  # once for each query
    assert list(hits["q1"]) == ["all of it", "some of it", "none of it"]


def test_the_bundled_model_finds_short_clips_as_its_vectors_do() -> None:
    files = find_model("small")
    encoder = ALM2VecEncoder(files, dtype="float32")
    corpus = [{"id": text, "audio": str(path)} for text, path in CLIPS.items()]
    queries = [{"id": text, "text": text} for text in CLIPS]
    task = tone_retrieval(queries, corpus, {text: [text] for text in CLIPS})
    with MtebSearch(encoder, model_meta(encoder, files), chunking=Chunking()) as search:
        assert scores_of(search, task)["recall_at_1"] == 1
