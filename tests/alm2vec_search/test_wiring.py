"""Which device, numeric type and how many processes a model gets, where nobody says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alm2vec_search.collection.base import CollectionInfo
from alm2vec_search.errors import ModelError
from alm2vec_search.model import hardware, hub
from alm2vec_search.model.hub import find_model
from alm2vec_search.settings import load_settings
from alm2vec_search.wiring import EncoderSpec, encoder_spec

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A machine of four cores, with or without a GPU."""

    def make(*, gpu: bool) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: gpu)
        monkeypatch.setattr("alm2vec_search.wiring.usable_cores", lambda: 4)
        capabilities = {"avx512_bf16": False}
        monkeypatch.setattr(hardware.torch.cpu, "get_capabilities", lambda: capabilities)

    return make


@pytest.fixture
def as_if_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "LARGE", 1_000_000)


def spec(**settings: object) -> EncoderSpec:
    return encoder_spec(load_settings(**settings))


@pytest.mark.usefixtures("as_if_large")
def test_a_large_model_takes_the_gpu_in_bfloat16_and_serves_all_cores(
    machine: Callable[..., None],
) -> None:
    machine(gpu=True)
    found = spec()

    assert (found.device, found.dtype) == ("cuda", "bfloat16")
    assert (found.is_shared, found.num_workers) == (True, 4)
    assert found.num_threads is None


@pytest.mark.usefixtures("as_if_large")
def test_a_large_model_without_a_gpu_takes_the_whole_cpu(machine: Callable[..., None]) -> None:
    machine(gpu=False)
    found = spec()

    assert (found.device, found.dtype) == ("cpu", "float32")
    assert (found.is_shared, found.num_workers) == (False, 1)
    assert found.num_threads is None  # all of them


@pytest.mark.parametrize("gpu", [True, False])
def test_the_small_model_stays_on_the_cores(machine: Callable[..., None], gpu: bool) -> None:
    machine(gpu=gpu)
    found = spec()

    assert (found.device, found.is_shared) == ("cpu", False)
    assert (found.num_workers, found.num_threads) == (4, 1)


def test_who_asks_for_a_gpu_gets_it_and_never_the_cpu_instead(
    machine: Callable[..., None],
) -> None:
    machine(gpu=False)
    found = spec(device="cuda")

    assert (found.device, found.is_shared) == ("cuda", True)
    with pytest.raises(ModelError, match="the device cuda can't be used"):
        found.require_device()


def test_an_index_keeps_its_model_and_its_type(machine: Callable[..., None]) -> None:
    machine(gpu=False)
    fingerprint = find_model("small").fingerprint("bfloat16")
    existing = CollectionInfo(fingerprint, "10s/10s", 384, "small")

    assert encoder_spec(load_settings(), existing).fingerprint == fingerprint
    assert encoder_spec(load_settings(dtype="float32"), existing).dtype == "float32"


def test_a_spec_says_what_it_would_build() -> None:
    found = spec(dtype="float32")

    assert found.embedding_dim == 384
    assert (
        found.fingerprint == found.build().fingerprint == find_model("small").fingerprint("float32")
    )


def test_where_a_large_model_runs_is_said(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(gpu=False)
    said: list[str] = []

    spec(dtype="float32").say_where(said.append)
    monkeypatch.setattr(hub, "LARGE", 1_000_000)
    spec(dtype="float32").say_where(said.append)

    assert said == ["small on cpu, float32"]
