from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from alm2vec_search.errors import ModelError
from alm2vec_search.model.checkpoint import (
    INDEX,
    StoredTensor,
    instead_of_pickles,
    read_headers,
    read_json,
    shards,
)

if TYPE_CHECKING:
    from pathlib import Path


def save(path: Path, **shapes: tuple[int, ...]) -> Path:
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, path)
    return path


def write_index(folder: Path, **files: str) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))


@pytest.mark.parametrize(("shape", "size"), [((), 1), ((5,), 5), ((2, 3, 4), 24), ((7, 0), 0)])
def test_a_tensors_size_is_how_many_numbers_it_holds(
    tmp_path: Path, shape: tuple[int, ...], size: int
) -> None:
    save(tmp_path / "m.safetensors", weight=shape)
    tensor = read_headers(tmp_path)["weight"]

    assert tensor.shape == shape
    assert tensor.size == size == torch.zeros(shape).numel()


def test_headers_say_where_each_tensor_lies_and_what_it_is(tmp_path: Path) -> None:
    one, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file({"x": torch.zeros(2, 3, dtype=torch.bfloat16)}, one)
    save_file({"y.z": torch.zeros(4, dtype=torch.int64), "scale": torch.tensor(1.0)}, other)

    assert read_headers(tmp_path) == {
        "x": StoredTensor(one, "x", (2, 3), "BF16"),
        "y.z": StoredTensor(other, "y.z", (4,), "I64"),
        "scale": StoredTensor(other, "scale", (), "F32"),
    }


def test_no_tensor_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "m.safetensors", weight=(1_000,))
    content = bytearray(path.read_bytes())
    content[-4_000:] = b"\xff" * 4_000  # not a number, each of them
    path.write_bytes(content)

    assert read_headers(tmp_path)["weight"].size == 1_000


def test_where_an_index_names_shards_no_other_is_read(tmp_path: Path) -> None:
    save(tmp_path / "model-1.safetensors", a=(1,))
    save(tmp_path / "model-2.safetensors", b=(1,))
    save(tmp_path / "consolidated.safetensors", a=(9,), c=(1,))
    write_index(tmp_path, a="model-1.safetensors", b="model-2.safetensors")

    assert shards(tmp_path) == [tmp_path / "model-1.safetensors", tmp_path / "model-2.safetensors"]
    assert {name: tensor.shape for name, tensor in read_headers(tmp_path).items()} == {
        "a": (1,),
        "b": (1,),
    }


@pytest.mark.parametrize("index", ["{}", '{"weight_map": null}', '{"weight_map": []}'])
def test_an_index_without_names_is_none(tmp_path: Path, index: str) -> None:
    save(tmp_path / "m.safetensors", a=(1,))
    (tmp_path / INDEX).write_text(index)

    assert list(read_headers(tmp_path)) == ["a"]


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    save(tmp_path / "model-1.safetensors", a=(1,))
    write_index(tmp_path, a="model-1.safetensors", b="model-2.safetensors")

    with pytest.raises(ModelError, match=r"model-2\.safetensors is missing") as caught:
        read_headers(tmp_path)
    assert "alm2vec model pull" in str(caught.value.hint)


@pytest.mark.parametrize("elsewhere", ["../other.safetensors", "/tmp/other.safetensors"])
def test_an_index_does_not_lead_out_of_its_folder(tmp_path: Path, elsewhere: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save(tmp_path / "other.safetensors", a=(1,))
    write_index(folder, a=elsewhere)

    with pytest.raises(ModelError, match="leads out of its folder"):
        read_headers(folder)


@pytest.mark.parametrize("keep", [0, 4, 40, -1], ids=["empty", "length", "header", "tensors"])
def test_a_shard_that_was_cut_off_is_named(tmp_path: Path, keep: int) -> None:
    save(tmp_path / "model-1.safetensors", a=(100,))
    cut = save(tmp_path / "model-2.safetensors", b=(100,))
    cut.write_bytes(cut.read_bytes()[:keep])

    with pytest.raises(ModelError, match=rf"^{re.escape(str(cut))} can't be read: ") as caught:
        read_headers(tmp_path)
    assert caught.value.hint == "it may be cut off: copy or pull it again"


def test_something_else_under_that_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")

    with pytest.raises(ModelError, match=r"m\.safetensors can't be read: "):
        read_headers(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "last.ckpt"])
def test_pickles_are_named_and_not_loaded(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")

    with pytest.raises(ModelError, match=r"has no \*\.safetensors") as caught:
        read_headers(tmp_path)
    assert caught.value.hint == instead_of_pickles(tmp_path)
    assert str(caught.value.hint).startswith(f"{name} is a pickle, which can run code")


def test_an_empty_folder_is_told_what_belongs_there(tmp_path: Path) -> None:
    assert "safetensors files" in instead_of_pickles(tmp_path)


def test_json_is_an_object_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    assert read_json(path) == {}

    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}

    for damaged in (b"{", b"\xff", b"[]", b"null", b""):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"config\.json (can't be read|holds no JSON object)"):
            read_json(path)
