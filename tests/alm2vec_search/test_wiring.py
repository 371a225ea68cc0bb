"""Which device, numeric type and how many processes a model gets, where nobody says; who is warned
of one that is ill."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ill_models import deaf, wordless

from alm2vec_search.collection.base import CollectionInfo
from alm2vec_search.errors import ModelError
from alm2vec_search.model import hardware, health, hub
from alm2vec_search.model.hub import find_model
from alm2vec_search.settings import load_settings
from alm2vec_search.wiring import EncoderSpec, encoder_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from alm2vec_search.domain import Encoder


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


SOUNDS_ALIKE = (
    "is ill: unlike sounds are all but the same to it, with a cosine of 1.0000 on average"
)


class TestHealth:
    @pytest.fixture
    def warnings(self, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
        """What was warned of since the last time."""

        def take() -> list[str]:
            taken = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
            caplog.clear()
            return taken

        return take

    @pytest.fixture
    def ill(self, tmp_path: Path) -> EncoderSpec:
        return spec(model=str(deaf(tmp_path / "deaf")), dtype="float32")

    @pytest.fixture
    def examined(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The names of the encoders that were examined."""
        names: list[str] = []
        examine = health.examine

        def count(encoder: Encoder) -> health.Health:
            names.append(encoder.name)
            return examine(encoder)

        monkeypatch.setattr(health, "examine", count)
        return names

    def test_of_one_that_is_well_nothing_is_said(
        self, examined: list[str], warnings: Callable[[], list[str]]
    ) -> None:
        found = spec(dtype="float32")

        for _ in range(2):
            found.build()

        assert warnings() == []
        assert examined == ["small"]
        assert found.health_folder == load_settings().home / "health"
        (kept,) = found.health_folder.iterdir()
        assert kept.name.startswith(f"{found.fingerprint}-cpu-")

    def test_of_one_that_is_ill_each_load_warns(
        self, ill: EncoderSpec, examined: list[str], warnings: Callable[[], list[str]]
    ) -> None:
        for _ in range(2):
            ill.build()
            (said,) = warnings()
            assert said.startswith(f"{ill.model} {SOUNDS_ALIKE}")
        assert examined == [ill.model]

    def test_each_complaint_is_a_warning(
        self, tmp_path: Path, warnings: Callable[[], list[str]]
    ) -> None:
        found = spec(model=str(wordless(tmp_path / "wordless")), dtype="float32")
        found.build()
        (said,) = warnings()
        assert said.startswith(f"{found.model} is ill: unlike texts are all but the same to it, ")

    def test_another_numeric_type_is_another_encoder(
        self, ill: EncoderSpec, examined: list[str], warnings: Callable[[], list[str]]
    ) -> None:
        ill.build()
        replace(ill, dtype="bfloat16").build()

        assert len(warnings()) == len(examined) == 2

    def test_of_many_only_the_first_says_it(
        self, ill: EncoderSpec, warnings: Callable[[], list[str]]
    ) -> None:
        ill.warn_if_ill()
        assert warnings() == []  # nothing is known yet

        for _ in range(3):
            ill.for_workers.build()
        assert len(warnings()) == 1

        ill.warn_if_ill()  # as the process does that starts the next ones
        (said,) = warnings()
        assert SOUNDS_ALIKE in said
        ill.for_workers.build()
        assert warnings() == []

    def test_of_many_that_examine_it_at_the_same_time_one_says_it(
        self,
        ill: EncoderSpec,
        monkeypatch: pytest.MonkeyPatch,
        warnings: Callable[[], list[str]],
    ) -> None:
        examine = health.examine

        def meanwhile(encoder: Encoder) -> health.Health:
            monkeypatch.setattr(health, "examine", examine)
            ill.for_workers.build()
            return examine(encoder)

        monkeypatch.setattr(health, "examine", meanwhile)
        ill.for_workers.build()

        assert len(warnings()) == 1

    def test_where_nothing_can_be_kept(
        self,
        ill: EncoderSpec,
        tmp_path: Path,
        examined: list[str],
        warnings: Callable[[], list[str]],
    ) -> None:
        (tmp_path / "file").touch()
        forgetful = replace(ill, health_folder=tmp_path / "file" / "health")

        for _ in range(2):
            forgetful.build()
            assert len(warnings()) == 1
        assert len(examined) == 2
        forgetful.warn_if_ill()
        assert warnings() == []

    def test_an_examination_that_fails_keeps_nobody_from_the_encoder(
        self, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
    ) -> None:
        def fail(encoder: Encoder) -> health.Health:
            raise RuntimeError("no such\nkernel")

        monkeypatch.setattr(health, "examine", fail)
        found = spec()

        assert found.build().embedding_dim == 384
        assert warnings() == ["small can't be examined: no such kernel"]
        found.for_workers.build()
        assert warnings() == []
        assert found.health_folder is not None
        assert not found.health_folder.exists()
        with pytest.raises(ModelError, match="small can't be examined: no such kernel"):
            found.examine()

    def test_without_a_folder_nothing_is_examined(
        self, ill: EncoderSpec, examined: list[str], warnings: Callable[[], list[str]]
    ) -> None:
        unwatched = replace(ill, health_folder=None)
        unwatched.build()
        unwatched.warn_if_ill()

        assert (examined, warnings()) == ([], [])
        assert len(unwatched.examine().complaints()) == 1

    def test_who_asks_is_not_told_what_was_found_before(
        self, ill: EncoderSpec, warnings: Callable[[], list[str]]
    ) -> None:
        assert ill.health_folder is not None
        path = ill.health_folder / health.file_name(ill.fingerprint, "cpu", None)
        health.keep(spec(dtype="float32").examine(), path)
        ill.build()
        assert warnings() == []  # by what is kept, it is well

        assert len(ill.examine().complaints()) == 1
        ill.build()
        assert len(warnings()) == 1
