"""What an examination finds: by hand on encoders of a few vectors, and on real models."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from published_checkpoint import Original

from alm2vec_search.errors import ModelError
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.health import (
    ALIKE_LIMIT,
    ALONE,
    DRIFT_LIMITS,
    LENGTH_LIMIT,
    SOUNDS_S,
    TEXTS,
    Health,
    examine,
    file_name,
    forget,
    keep,
    kept,
    probe_sounds,
)
from alm2vec_search.model.hub import BUNDLED, find_model
from alm2vec_search.testing import FakeEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from alm2vec_search.domain import Embeddings, Waveform

N = len(TEXTS)
N_VECTORS = N + len(ALONE)
APART = np.eye(8, dtype=np.float32)[:N]  # one vector a probe, at right angles
SAME = np.tile(APART[0], (N, 1))


def turned(cosine: float) -> Embeddings:
    """`APART`, each so near to what it was."""
    turn = math.sqrt(1 - cosine**2)
    return np.asarray(cosine * APART + turn * np.eye(8)[6], dtype=np.float32)


@dataclass
class Table:
    """Its vectors are written down: of the probes together, and of one that comes alone."""

    texts: Embeddings = field(default_factory=lambda: APART)
    sounds: Embeddings = field(default_factory=lambda: APART)
    texts_alone: Embeddings | None = None
    sounds_alone: Embeddings | None = None
    dtype: str = "float32"
    name: str = "table"
    device: str = "cpu"
    sampling_rate: int = 8_000
    embedding_dim: int = 8

    @property
    def fingerprint(self) -> str:
        return f"table-{self.dtype}"

    def encode_query(self, *, text: Sequence[str], **_: Any) -> Embeddings:
        return self._looked_up([TEXTS.index(one) for one in text], self.texts, self.texts_alone)

    def encode_document(self, *, audio: Sequence[Waveform], **_: Any) -> Embeddings:
        known = [sound.samples.tobytes() for sound in probe_sounds(self.sampling_rate)]
        rows = [known.index(one.samples.tobytes()) for one in audio]
        return self._looked_up(rows, self.sounds, self.sounds_alone)

    def _looked_up(
        self, rows: list[int], together: Embeddings, alone: Embeddings | None
    ) -> Embeddings:
        return (together if alone is None or len(rows) > 1 else alone)[rows]


def with_rows(vectors: Embeddings, rows: list[int], value: float) -> Embeddings:
    changed = vectors.copy()
    changed[rows] = value
    return changed


class TestProbes:
    def test_sounds_are_unlike_finite_and_not_too_loud(self) -> None:
        sounds = probe_sounds(16_000)

        assert [sound.duration_s for sound in sounds] == list(SOUNDS_S)
        for sound in sounds:
            assert sound.samples.dtype == np.float32
            assert 0.2 < np.abs(sound.samples).max() <= 0.5
        spectra = [np.abs(np.fft.rfft(sound.samples, n=32_000)) for sound in sounds]
        units = np.array([spectrum / np.linalg.norm(spectrum) for spectrum in spectra])
        assert (units @ units.T)[~np.eye(N, dtype=bool)].max() < 0.9

    @pytest.mark.parametrize("sampling_rate", [8_000, 48_000])
    def test_sounds_are_the_same_each_time(self, sampling_rate: int) -> None:
        first, second = probe_sounds(sampling_rate), probe_sounds(sampling_rate)
        assert all(np.array_equal(a.samples, b.samples) for a, b in zip(first, second, strict=True))

    def test_as_many_texts_and_of_several_lengths(self) -> None:
        assert len(set(TEXTS)) == N == len(SOUNDS_S)
        assert len({len(text.split()) for text in TEXTS}) > 1
        assert len({SOUNDS_S[row] for row in ALONE}) == len(ALONE)


class TestWell:
    def test_numbers(self) -> None:
        health = examine(Table())

        for side in (health.texts, health.sounds):
            assert side is not None
            assert asdict(side) == {
                "vectors": N_VECTORS,
                "not_finite": 0,
                "zero": 0,
                "length_error": 0,
                "alike": 0,
                "most_alike": 0,
                "batch_drift": 0,
            }
        assert health.modality_gap == pytest.approx(1)
        assert (health.dtype, health.refusals, health.complaints()) == ("float32", (), [])

    def test_the_gap_is_between_the_means(self) -> None:
        # The sums are (1, 1, 1, 1, 1, 1) and (1, 1, 1, 1, 2, 0).
        sounds = APART[[0, 1, 2, 3, 4, 4]]
        expected = 6 / (math.sqrt(6) * math.sqrt(8))

        assert examine(Table(sounds=sounds)).modality_gap == pytest.approx(expected)

    def test_a_wide_gap_is_no_complaint(self) -> None:
        health = examine(Table(sounds=-APART))
        assert health.modality_gap == pytest.approx(-1)
        assert not health.complaints()

    def test_the_stand_in_of_tests(self) -> None:
        assert examine(FakeEncoder()).complaints() == []


class TestAlike:
    @pytest.mark.parametrize("side", ["text", "sound"])
    def test_one_vector_for_all(self, side: str) -> None:
        health = examine(Table(**{f"{side}s": SAME}))

        found = health.texts if side == "text" else health.sounds
        assert found is not None
        assert (found.alike, found.most_alike, found.batch_drift) == (1, 1, 0)
        (complaint,) = health.complaints()
        assert complaint.startswith(
            f"unlike {side}s are all but the same to it, with a cosine of 1."
        )
        assert complaint.endswith("use another checkpoint")

    def test_the_mean_counts_and_not_the_nearest(self) -> None:
        health = examine(Table(texts=APART[[0, 0, 0, 3, 4, 5]]))

        assert health.texts is not None
        assert health.texts.alike == pytest.approx(3 / 15)  # of so many pairs
        assert health.texts.most_alike == 1
        assert not health.complaints()

    @pytest.mark.parametrize("above", [-1e-3, 1e-3])
    def test_the_limit(self, above: float) -> None:
        # A shared part of weight s, and one of its own: the cosine of two of them is s².
        cosine = ALIKE_LIMIT + above
        shared = np.eye(8)[7] * math.sqrt(cosine)
        vectors = (shared + math.sqrt(1 - cosine) * APART).astype(np.float32)

        health = examine(Table(sounds=vectors))

        assert health.sounds is not None
        assert health.sounds.alike == pytest.approx(cosine)
        assert bool(health.complaints()) is (above > 0)


class TestBatchMates:
    @pytest.mark.parametrize("side", ["text", "sound"])
    @pytest.mark.parametrize("dtype", list(DRIFT_LIMITS))
    @pytest.mark.parametrize("factor", [0.5, 2])
    def test_the_limit_goes_by_the_numeric_type(self, side: str, dtype: str, factor: float) -> None:
        drift = factor * DRIFT_LIMITS[dtype]

        health = examine(Table(dtype=dtype, **{f"{side}s_alone": turned(1 - drift)}))

        found = health.texts if side == "text" else health.sounds
        assert found is not None
        assert found.batch_drift == pytest.approx(drift, rel=1e-3)
        if factor < 1:
            assert not health.complaints()
        else:
            (complaint,) = health.complaints()
            assert complaint.startswith(
                f"{side} vectors depend on what else is in the batch, by up to {drift:.2g} of cos"
            )

    def test_an_unknown_type_is_held_to_the_strictest(self) -> None:
        health = examine(Table(dtype="other", texts_alone=turned(0.995)))
        assert health.drift_limit == min(DRIFT_LIMITS.values())
        assert len(health.complaints()) == 1

    def test_the_worst_counts(self) -> None:
        alone = APART.copy()
        alone[ALONE[1]] = turned(0.7)[ALONE[1]]

        health = examine(Table(sounds_alone=alone))

        assert health.sounds is not None
        assert health.sounds.batch_drift == pytest.approx(0.3)


class TestNoDirection:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_not_numbers(self, value: float) -> None:
        health = examine(Table(sounds=with_rows(APART, [1, 2], value)))

        assert health.sounds is not None
        assert health.sounds.not_finite == 3  # both together, and the one that comes alone
        assert health.sounds.alike == 0  # of the others
        assert health.modality_gap is None
        (complaint,) = health.complaints()
        assert complaint.startswith(f"3 of {N_VECTORS} sound vectors are not numbers")

    def test_nothing_but_zeros(self) -> None:
        health = examine(Table(texts=np.zeros_like(APART)))

        assert health.texts is not None
        assert health.texts.zero == N_VECTORS
        assert (health.texts.alike, health.texts.batch_drift) == (None, None)
        assert health.modality_gap is None
        (complaint,) = health.complaints()
        assert complaint.startswith(f"{N_VECTORS} of {N_VECTORS} text vectors are nothing but zer")

    def test_only_in_company(self) -> None:
        health = examine(Table(texts=with_rows(APART, [ALONE[0]], 0), texts_alone=APART))

        assert health.texts is not None
        assert (health.texts.zero, health.texts.batch_drift) == (1, 0)

    @pytest.mark.parametrize(("factor", "is_ill"), [(1.005, False), (0.5, True), (3.0, True)])
    def test_lengths(self, factor: float, is_ill: bool) -> None:
        health = examine(Table(sounds=APART * np.float32(factor)))

        assert health.sounds is not None
        assert health.sounds.length_error == pytest.approx(abs(factor - 1), abs=1e-6)
        assert (abs(factor - 1) > LENGTH_LIMIT) is is_ill
        said = [complaint[:45] for complaint in health.complaints()]
        assert said == (["sound vectors have lengths that differ from 1 "[:45]] if is_ill else [])


class TestRefusals:
    def test_an_encoder_without_words(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise ModelError("table takes no words")

        monkeypatch.setattr(Table, "encode_query", refuse)

        health = examine(Table(sounds=SAME))

        assert (health.texts, health.modality_gap) == (None, None)
        assert health.refusals == ("table takes no words",)
        assert len(health.complaints()) == 1  # of the sounds

    def test_any_other_error_is_the_callers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr(Table, "encode_document", fail)
        with pytest.raises(RuntimeError, match="broken"):
            examine(Table())

    def test_vectors_of_fewer_inputs(self) -> None:
        class Forgetful(Table):
            def encode_query(self, *, text: Sequence[str], **_: Any) -> Embeddings:
                return super().encode_query(text=text[:1])

        with pytest.raises(ValueError, match=r"of 6 and 3 inputs, and they have the shapes \(1, 8"):
            examine(Forgetful())


class TestModels:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_the_bundled_one_is_well(
        self, encoder32: ALM2VecEncoder, encoder16: ALM2VecEncoder, dtype: str
    ) -> None:
        health = examine(encoder32 if dtype == "float32" else encoder16)

        assert health.complaints() == []
        assert health.dtype == dtype
        for side in (health.texts, health.sounds):
            assert side is not None
            assert 0 < side.alike < side.most_alike < 0.5  # type: ignore[operator]
            assert side.batch_drift < 1e-6  # type: ignore[operator]

    @pytest.mark.parametrize("decoder_type", ["qwen2_5_omni_text", "qwen3"])
    def test_one_of_the_published_format_has_no_batch_mates(
        self, tmp_path: Path, decoder_type: str
    ) -> None:
        health = examine(published(tmp_path, decoder_type=decoder_type))

        for side in (health.texts, health.sounds):
            assert side is not None
            assert side.batch_drift < 1e-6  # type: ignore[operator]
        assert not any("batch" in complaint for complaint in health.complaints())

    @pytest.mark.parametrize("model", ["small", "published"])
    def test_text_padding_that_is_read_is_noticed(self, tmp_path: Path, model: str) -> None:
        encoder = small() if model == "small" else published(tmp_path)
        change(encoder, "pad", lambda made: made["attention_mask"].fill_(1))

        texts = examine(encoder).texts

        assert texts is not None
        assert texts.batch_drift > DRIFT_LIMITS["bfloat16"]  # type: ignore[operator]

    def test_silence_that_is_heard_behind_a_sound_is_noticed(self, tmp_path: Path) -> None:
        encoder = published(tmp_path)
        change(
            encoder,
            "stack",
            lambda made: made["waveform_lengths"].fill_(made["waveforms"].shape[1]),
        )

        sounds = examine(encoder).sounds

        assert sounds is not None
        assert sounds.batch_drift > DRIFT_LIMITS["bfloat16"]  # type: ignore[operator]

    def test_weights_that_are_not_numbers(self) -> None:
        encoder = small()
        with torch.inference_mode():
            encoder._model.language_model.embeddings.LayerNorm.bias.fill_(math.nan)

        for complaint, side in zip(examine(encoder).complaints(), ("text", "sound"), strict=True):
            assert complaint.startswith(f"{N_VECTORS} of {N_VECTORS} {side} vectors are not num")


def small() -> ALM2VecEncoder:
    return ALM2VecEncoder(find_model(BUNDLED), dtype="float32")


def published(folder: Path, **fields: Any) -> ALM2VecEncoder:
    checkpoint = Original.make(**fields).save(folder / "toy")
    return ALM2VecEncoder(find_model(str(checkpoint)), dtype="float32")


def change(
    encoder: ALM2VecEncoder, step: str, alter: Callable[[dict[str, Tensor]], object]
) -> None:
    """What a step of its processor makes is altered before the model gets it."""
    processor = encoder._batched.processor
    make = getattr(processor, step)

    def altered(items: Any) -> dict[str, Tensor]:
        made: dict[str, Tensor] = make(items)
        alter(made)
        return made

    setattr(processor, step, altered)


class TestKeeping:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "not" / "there" / file_name("0f-float32", "cpu", None)

    @pytest.fixture
    def health(self) -> Health:
        return examine(Table(sounds=with_rows(APART, [1], math.nan), texts_alone=turned(0.9)))

    def test_what_is_kept_comes_back(self, path: Path, health: Health) -> None:
        assert kept(path) is None
        assert keep(health, path)
        assert kept(path) == health

    def test_who_comes_second_keeps_nothing(self, path: Path, health: Health) -> None:
        assert keep(health, path)
        assert not keep(replace(health, dtype="bfloat16"), path)
        assert kept(path) == health

    def test_of_many_at_once_only_one_keeps_it(self, tmp_path: Path, health: Health) -> None:
        for attempt in range(200):
            path, start = tmp_path / f"{attempt}.json", threading.Barrier(4)

            def run(path: Path = path, start: threading.Barrier = start) -> bool:
                start.wait()
                return keep(health, path)

            with ThreadPoolExecutor(4) as pool:
                results = [pool.submit(run) for _ in range(4)]
            assert sorted(result.result() for result in results) == [False, False, False, True]
        assert {path.suffix for path in tmp_path.iterdir()} == {".json"}

    @pytest.mark.parametrize("bytes_", [b"", b"{}", b"\xff\xfe", b'{"dtype": "float32"}'])
    def test_a_damaged_one_is_made_anew(self, path: Path, health: Health, bytes_: bytes) -> None:
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes_)

        assert kept(path) is None
        assert keep(health, path)
        assert kept(path) == health

    def test_forgotten(self, path: Path, health: Health) -> None:
        forget(path)  # where there is none, too
        keep(health, path)
        forget(path)
        assert kept(path) is None

    def test_where_it_can_not_be_kept(self, tmp_path: Path, health: Health) -> None:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "health.json"

        assert not keep(health, path)
        assert kept(path) is None
        forget(path)

    def test_each_encoder_has_a_file_for_each_way_to_run_it(self) -> None:
        names = {
            file_name(fingerprint, device, batch_size)
            for fingerprint in ("0f-float32", "0f-bfloat16")
            for device in ("cpu", "cuda:0", "cuda:1")
            for batch_size in (None, 1, 11)
        }
        assert len(names) == 2 * 2 * 3
