from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save_file

from alm2vec_search.errors import ModelError
from alm2vec_search.model import hub
from alm2vec_search.model.hub import (
    BUNDLED_FOLDER,
    Layout,
    ModelFiles,
    dtype_of,
    find_model,
    repositories,
)

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = {
    "model_type": "alm2vec",
    "audio_config": {"model_type": "yamnet"},
    "embedding_dim": None,
    "text_config": {"hidden_size": 384},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as far as the hub looks."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    save_file({"base": np.zeros(3, np.float32)}, folder / "base.safetensors")
    save_file({"adapter": np.zeros(3, np.float32)}, folder / "adapter.safetensors")
    return folder


def fingerprint(folder: Path, dtype: str = "float32") -> str:
    return find_model(str(folder)).fingerprint(dtype)


def test_a_fingerprint_stays_when_nothing_changes(folder: Path) -> None:
    before = fingerprint(folder)

    assert before == fingerprint(folder)
    assert re.fullmatch(r"[0-9a-f]{16}-float32", before)


@pytest.mark.parametrize(
    "part", ["config.json", "tokenizer.json", "base.safetensors", "adapter.safetensors"]
)
def test_a_fingerprint_moves_with_each_file(folder: Path, part: str) -> None:
    before = fingerprint(folder)
    (folder / part).write_bytes((folder / part).read_bytes() + b" ")

    assert fingerprint(folder) != before


def test_a_fingerprint_moves_when_tensors_come_or_change_places(folder: Path) -> None:
    found = {fingerprint(folder)}
    one, other = folder / "adapter.safetensors", folder / "base.safetensors"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    found.add(fingerprint(folder))
    (folder / "more.safetensors").write_bytes(b"")
    found.add(fingerprint(folder))

    assert len(found) == 3


def test_a_fingerprint_stays_when_the_folder_moves(folder: Path, tmp_path: Path) -> None:
    before = fingerprint(folder)

    assert fingerprint(folder.rename(tmp_path / "renamed")) == before


def test_a_fingerprint_stays_when_a_readme_is_written(folder: Path) -> None:
    before = fingerprint(folder)
    (folder / "MODEL_CARD.md").write_text("about")

    assert fingerprint(folder) == before


def test_a_fingerprint_tells_types_and_code_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(folder)
    assert fingerprint(folder, "bfloat16") != before

    monkeypatch.setattr(hub, "PIPELINE_REVISION", hub.PIPELINE_REVISION + 1)

    assert fingerprint(folder) != before


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_fingerprint_says_its_type(folder: Path, dtype: str) -> None:
    assert dtype_of(fingerprint(folder, dtype)) == dtype


@pytest.mark.parametrize(("projected_to", "expected"), [(None, 384), (128, 128)])
def test_the_dimension_is_in_the_config(
    folder: Path, projected_to: int | None, expected: int
) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, "embedding_dim": projected_to}))

    assert ModelFiles("m", folder).embedding_dim == expected


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", r"config\.json can't be read: "),
        ("[]", r"config\.json holds no JSON object"),
        ("{}", "doesn't describe an ALM2Vec model"),
        ('{"model_type": "alm2vec"}', "doesn't describe an ALM2Vec model"),
        ('{"model_type": "alm2vec", "text_config": null}', "doesn't describe an ALM2Vec model"),
        (
            '{"model_type": "bert", "text_config": {"hidden_size": 384}}',
            "doesn't describe an ALM2Vec model",
        ),
        ('{"model_type": "alm2vec", "embedding_dim": "many"}', "doesn't describe an ALM2Vec model"),
    ],
)
def test_a_config_of_something_else_is_an_error(folder: Path, config: str, message: str) -> None:
    (folder / "config.json").write_text(config)

    with pytest.raises(ModelError, match=message):
        _ = find_model(str(folder)).embedding_dim


def test_the_bundled_model_is_found_by_its_name() -> None:
    files = find_model("small")

    assert files.folder == BUNDLED_FOLDER
    assert files.name == "small"
    assert files.embedding_dim == 384


def test_a_model_is_found_by_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))

    assert find_model(str(folder)).folder == folder
    assert find_model("~/model").folder == folder


def test_a_missing_model_is_named() -> None:
    with pytest.raises(ModelError, match="no model is called large") as caught:
        find_model("large")

    assert caught.value.hint == "use small, a model's folder, or owner/name of a hub"


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        (["config.json"], "config.json"),
        (["tokenizer.json"], "tokenizer.json"),
        (["base.safetensors", "adapter.safetensors"], "*.safetensors"),
    ],
)
def test_what_a_folder_lacks_is_named(folder: Path, gone: list[str], missing: str) -> None:
    for name in gone:
        (folder / name).unlink()

    with pytest.raises(ModelError, match=re.escape(f"is not a model: it has no {missing}")):
        find_model(str(folder))


# Cascades.


@pytest.fixture
def halves(tmp_path: Path) -> tuple[Path, Path]:
    """Two models as far as the hub looks."""
    speech, text = tmp_path / "speech", tmp_path / "text"
    for folder, kind in ((speech, "whisper"), (text, "bert")):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
        (folder / "tokenizer.json").write_text("{}")
        save_file({"weights": np.zeros(3, np.float32)}, folder / "model.safetensors")
    (speech / "generation_config.json").write_text("{}")
    (text / "modules.json").write_text("[]")
    return speech, text


def test_a_cascade_is_two_models(
    halves: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    speech, text = halves
    files = find_model("asr:speech+./text")

    assert files.name == f"asr:{speech}+{text}"
    assert find_model(files.name).name == files.name
    assert [half.name for half in files.halves] == [str(speech), f"st:{text}"]
    assert files.layout is Layout.CASCADE
    assert not files.is_described
    assert files.max_audio_s is None
    assert files.num_bytes == sum(half.num_bytes for half in files.halves) > 0


@pytest.mark.parametrize(
    ("half", "part"),
    [
        (0, "config.json"),
        (0, "generation_config.json"),
        (0, "tokenizer.json"),
        (0, "model.safetensors"),
        (1, "modules.json"),
        (1, "model.safetensors"),
    ],
)
def test_a_fingerprint_moves_with_each_half(
    halves: tuple[Path, Path], half: int, part: str
) -> None:
    name = "asr:{}+{}".format(*halves)
    before = find_model(name).fingerprint("float32")
    assert before == find_model(name).fingerprint("float32")
    (halves[half] / part).write_bytes((halves[half] / part).read_bytes() + b" ")

    assert find_model(name).fingerprint("float32") != before


def test_a_folder_s_name_may_have_a_plus_in_it(halves: tuple[Path, Path]) -> None:
    speech, text = (folder.rename(folder.with_name(f"a+{folder.name}+b")) for folder in halves)

    files = find_model(f"asr:{speech}+{text}")

    assert [half.folder for half in files.halves] == [speech, text]


@pytest.mark.parametrize("name", ["asr:", "asr:speech", "asr:+text", "asr:speech+"])
def test_a_cascade_has_two_names(name: str) -> None:
    with pytest.raises(ModelError, match=re.escape(f"{name} doesn't name two models")) as caught:
        find_model(name)

    assert caught.value.hint is not None
    assert caught.value.hint.startswith("a cascade is asr:SPEECH+TEXT, ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("asr:{speech}+nowhere", "no model is called nowhere"),
        ("asr:nowhere+{text}", "no model is called nowhere"),
        ("asr:{text}+{text}", "text is no speech model of the Whisper family, but bert"),
        ("asr:{speech}+a/text@v1", "a/text@v1 isn't on this machine"),
        ("asr:a/speech+a/text", "a/speech isn't on this machine"),
    ],
)
def test_what_is_wrong_with_a_half_is_named(
    halves: tuple[Path, Path], name: str, message: str
) -> None:
    speech, text = halves

    with pytest.raises(ModelError, match=message):
        find_model(name.format(speech=speech, text=text))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("small", []),
        ("a/b@v1", ["a/b@v1"]),
        ("st:a/b", ["a/b"]),
        ("asr:a/b@v1+c/d", ["a/b@v1", "c/d"]),
        ("asr:./a+c/d", ["c/d"]),
        ("asr:./a+./b", []),
    ],
)
def test_what_of_a_hub_a_name_stands_for(name: str, expected: list[str]) -> None:
    assert [str(repository) for repository in repositories(name)] == expected
