"""Whether an answer is one: the numbers by hand, and the file that the vectors are kept in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from alm2vec_search.domain import Verdict
from alm2vec_search.testing import FakeEncoder
from alm2vec_search.verdicts import (
    LIKELY,
    SOUND,
    STRONG,
    WORDS,
    Curve,
    Judge,
    deviations,
    everyday_sounds,
    verdict,
)

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.domain import Embeddings


@dataclass
class Counting:
    """Counts how often it is asked for vectors of questions."""

    encoder: FakeEncoder = field(default_factory=FakeEncoder)
    n_calls: int = 0

    def encode_query(self, **asked: Any) -> Embeddings:
        self.n_calls += 1
        return self.encoder.encode_query(**asked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)


@pytest.fixture
def encoder() -> Counting:
    return Counting()


@pytest.fixture
def expected() -> Embeddings:
    return FakeEncoder().encode_query(text=everyday_sounds())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "not" / "there" / "everyday.npy"


class TestNumbers:
    def test_deviations(self) -> None:
        everyday = np.array([[0.0, 0.2], [-0.5, 0.5]])  # 0.1 ± 0.1, and 0 ± 0.5
        np.testing.assert_allclose(deviations(everyday, np.array([0.4, -1.0])), [3, -2])

    def test_sounds_that_are_all_alike(self) -> None:
        found = deviations(np.full((2, 5), 0.5), np.array([0.5, 0.6]))
        assert found[0] == 0
        assert np.isfinite(found[1])
        assert found[1] > 1000

    def test_no_answers(self) -> None:
        assert deviations(np.zeros((0, 5)), np.zeros(0)).shape == (0,)

    def test_a_curve(self) -> None:
        curve = Curve(slope=2, intercept=-4)
        # 1 / (1 + e^4), a half, and 1 / (1 + e^-4)
        np.testing.assert_allclose(curve(np.array([0, 2, 4])), [0.017986, 0.5, 0.982014], atol=1e-6)

    @pytest.mark.parametrize("curve", [WORDS, SOUND])
    def test_further_above_is_likelier(self, curve: Curve) -> None:
        chances = curve(np.linspace(-5, 15, 50))
        assert (np.diff(chances) > 0).all()
        assert chances[0] < 0.01
        assert chances[-1] > 0.99

    @pytest.mark.parametrize(
        ("probability", "expected"),
        [
            (1, Verdict.STRONG),
            (STRONG, Verdict.STRONG),
            (STRONG - 1e-9, Verdict.LIKELY),
            (LIKELY, Verdict.LIKELY),
            (LIKELY - 1e-9, Verdict.WEAK),
            (0, Verdict.WEAK),
        ],
    )
    def test_thresholds(self, probability: float, expected: Verdict) -> None:
        assert verdict(probability) is expected


def test_everyday_sounds() -> None:
    sounds = everyday_sounds()
    assert len(sounds) == 100
    assert len({text.casefold() for text in sounds}) == len(sounds)
    assert all(text and text == text.strip() for text in sounds)


class TestJudge:
    def test_probabilities(self, encoder: Counting, expected: Embeddings) -> None:
        answers = encoder.encode_document(text=["low", "high"])  # [2, dim]
        scores = answers @ answers[0]
        everyday = answers @ expected.T
        above = (scores - everyday.mean(axis=1)) / everyday.std(axis=1)
        found = Judge(encoder).probabilities(answers, scores, WORDS)
        np.testing.assert_allclose(found, 1 / (1 + np.exp(6.48 - 1.46 * above)), rtol=1e-5)
        assert [verdict(chance) for chance in found] == [Verdict.STRONG, Verdict.WEAK]

    def test_the_encoder_is_asked_once(self, encoder: Counting, expected: Embeddings) -> None:
        judge = Judge(encoder)
        assert encoder.n_calls == 0
        for _ in range(3):
            np.testing.assert_array_equal(judge.everyday(), expected)
        assert encoder.n_calls == 1


class TestCache:
    def test_is_written_and_read(
        self, encoder: Counting, cache: Path, expected: Embeddings
    ) -> None:
        for _ in range(3):
            np.testing.assert_array_equal(Judge(encoder, cache).everyday(), expected)
        assert encoder.n_calls == 1
        assert [path.name for path in cache.parent.iterdir()] == [cache.name]

    def test_what_it_holds_is_believed(self, encoder: Counting, cache: Path) -> None:
        kept = np.eye(encoder.embedding_dim, dtype=np.float32)[np.arange(100) % 32]
        cache.parent.mkdir(parents=True)
        kept.tofile(cache)
        np.testing.assert_array_equal(Judge(encoder, cache).everyday(), kept)
        assert encoder.n_calls == 0

    @pytest.mark.parametrize("damage", ["empty", "cut off", "other bytes"])
    def test_a_damaged_one_is_made_anew(
        self, encoder: Counting, cache: Path, expected: Embeddings, damage: str
    ) -> None:
        Judge(encoder, cache).everyday()
        whole = cache.read_bytes()
        broken = {"empty": b"", "cut off": whole[:-100], "other bytes": b"\0" * len(whole)}
        cache.write_bytes(broken[damage])
        np.testing.assert_array_equal(Judge(encoder, cache).everyday(), expected)
        assert encoder.n_calls == 2
        assert cache.read_bytes() == whole

    @pytest.mark.parametrize(
        "kept",
        [
            np.eye(32, dtype=np.float32)[np.arange(99) % 32],  # of another list of sounds
            np.eye(31, dtype=np.float32)[np.arange(100) % 31],  # of another model
            np.ones((100, 32), np.float32),
            np.full((100, 32), np.nan, np.float32),
        ],
        ids=["sounds", "dimension", "no units", "not numbers"],
    )
    def test_one_that_does_not_fit_is_made_anew(
        self, encoder: Counting, cache: Path, expected: Embeddings, kept: Embeddings
    ) -> None:
        cache.parent.mkdir(parents=True)
        kept.tofile(cache)
        np.testing.assert_array_equal(Judge(encoder, cache).everyday(), expected)
        np.testing.assert_array_equal(np.fromfile(cache, "<f4").reshape(100, 32), expected)

    def test_where_it_can_not_be_kept(
        self, encoder: Counting, tmp_path: Path, expected: Embeddings
    ) -> None:
        cache = tmp_path / "everyday.npy"
        cache.mkdir()  # no file can take its place
        np.testing.assert_array_equal(Judge(encoder, cache).everyday(), expected)
        assert [path.name for path in tmp_path.iterdir()] == [cache.name]

    def test_where_there_is_no_such_folder(
        self, encoder: Counting, tmp_path: Path, expected: Embeddings
    ) -> None:
        (tmp_path / "file").touch()
        judge = Judge(encoder, tmp_path / "file" / "everyday")
        np.testing.assert_array_equal(judge.everyday(), expected)
