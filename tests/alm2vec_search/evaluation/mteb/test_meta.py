"""What mteb is told of our models, held against their files and against mteb itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import mteb
from cascade_checkpoints import write_text_model, write_whisper
from mteb.models import ModelMeta
from published_checkpoint import Original

from alm2vec_search.evaluation.mteb.meta import OF_SMALL, model_meta
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import Layout, ModelFiles, find_model
from alm2vec_search.testing import FakeEncoder

if TYPE_CHECKING:
    from pathlib import Path


def test_the_bundled_model() -> None:
    files = find_model("small")
    encoder = ALM2VecEncoder(files, dtype="float32")

    meta = model_meta(encoder, files)

    assert meta.name == "alm2vec-search/small"
    assert meta.revision == files.fingerprint("float32") == encoder.fingerprint
    assert meta.embed_dim == 384
    assert meta.n_parameters == 3_217_344 + 1_495_375 + 22_565_376  # as its card counts
    assert meta.n_embedding_parameters == 30_522 * 384
    assert meta.max_tokens == 256
    assert meta.license == "apache-2.0"
    assert meta.open_license
    assert meta.open_weights
    assert meta.languages == ["eng-Latn"]
    assert set(meta.modalities) == {"audio", "text"}
    assert meta.similarity_fn_name == "cosine"
    assert not meta.is_cross_encoder


def test_what_it_was_trained_on_is_what_mteb_calls_it() -> None:
    assert OF_SMALL.training_datasets is not None
    for name in OF_SMALL.training_datasets:
        assert mteb.get_task(name).metadata.name == name
    assert OF_SMALL.adapted_from is not None
    assert mteb.get_model_meta(OF_SMALL.adapted_from, fetch_from_hf=False).embed_dim == 384

    files = find_model("small")
    trained_on = model_meta(FakeEncoder(name="small"), files).get_training_datasets()

    assert trained_on is not None
    assert {"ESC50", "AudioCapsT2ARetrieval", "MSMARCO"} <= trained_on  # MSMARCO: its base


def test_a_cascade_has_a_name_that_mteb_takes(tmp_path: Path) -> None:
    whisper = tmp_path / "whisper"
    write_whisper(whisper, multilingual=False)
    text_model = write_text_model(tmp_path / "bert").rename(tmp_path / "bge")
    files = find_model(f"asr:{whisper}+{text_model}")
    encoder = FakeEncoder(name=files.name, follows_instructions=False)

    meta = model_meta(encoder, files)

    assert meta.name == "local/asr-whisper+bge"
    assert meta.n_parameters is None
    assert not meta.use_instructions
    assert meta.memory_usage_mb is not None


def test_a_published_model(tmp_path: Path) -> None:
    folder = Original.make().save(tmp_path / "toy")
    published = replace(find_model(str(folder)), name="cara-ai/ALM2Vec-FT@0123abc")
    assert published.layout is Layout.PUBLISHED

    meta = model_meta(ALM2VecEncoder(published, dtype="float32"), published)

    assert meta.name == "cara-ai/ALM2Vec-FT"
    assert meta.license == "cc-by-nc-4.0"  # of the two that are said, the one that allows less
    assert not meta.open_license
    assert meta.reference == "https://huggingface.co/cara-ai/ALM2Vec-FT"
    assert meta.use_instructions
    assert meta.training_datasets is None  # isn't known, which is something else than none
    assert meta.n_parameters == sum(published.description.sizes().values()) > 0
    assert meta.embed_dim == published.embedding_dim


def test_a_folder_says_only_what_it_has(tmp_path: Path) -> None:
    folder = Original.make().save(tmp_path / "toy")
    files = find_model(str(folder))
    encoder = FakeEncoder(name=files.name)

    assert model_meta(encoder, files).name == "local/toy"
    assert model_meta(encoder, files).license is None

    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    assert model_meta(encoder, files).license == "mit"
    (folder / "README.md").write_text("---\nlicense: whatever-we-like\n---\n")
    assert model_meta(encoder, files).license is None


def test_a_model_that_mteb_knows_is_described_as_there(tmp_path: Path) -> None:
    name = "st:laion/clap-htsat-unfused"
    files = ModelFiles(name, tmp_path, Layout.SENTENCE_TRANSFORMERS)

    meta = model_meta(FakeEncoder(name=name, fingerprint="abc-float32"), files)

    theirs = mteb.get_model_meta("laion/clap-htsat-unfused", fetch_from_hf=False)
    assert meta.n_parameters == theirs.n_parameters
    assert meta.license == theirs.license
    assert meta.revision == "abc-float32"
    assert meta.loader is None  # it isn't mteb that loads it


def test_one_that_nobody_knows_of_sentence_transformers(tmp_path: Path) -> None:
    name = "st:nobody/nothing"
    files = ModelFiles(name, tmp_path, Layout.SENTENCE_TRANSFORMERS)

    meta = model_meta(FakeEncoder(name=name), files)

    assert (meta.name, meta.n_parameters, meta.max_tokens) == ("nobody/nothing", None, None)
    assert "Sentence Transformers" in meta.framework


def test_what_is_made_of_no_files() -> None:
    meta = model_meta(FakeEncoder())

    assert isinstance(meta, ModelMeta)
    assert (meta.name, meta.revision, meta.embed_dim) == ("local/fake", "fake-float32", 32)
    assert meta.open_weights is None
