"""That a picture is drawn; how it looks is for people to judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.image
import numpy as np
import pytest

from alm2vec_search.errors import TrainingError
from trainer.curves import SMOOTHED_FROM, draw, smoothed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("error")


def lines(n_logs: int, *, held_out: bool = True) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for step in range(1, n_logs + 1):
        found.append(
            {
                "step": 10 * step,
                "loss": 3 / step,
                "learning_rate": 1e-4 / step,
                "temperature": 0.07,
                "accuracy": 1 - 1 / step,
                "masked_by_similarity": 0.01,
                "masked_by_identity": 0.002,
            }
        )
        if held_out and step % 3 == 0:
            recalls = {f"held_out/r@{k}_{w}": 0.05 * k for k in (1, 5, 10) for w in ("q2d", "d2q")}
            found.append({"step": 10 * step, **recalls})
    return found


def colours(path: Path) -> int:
    pixels = (255 * matplotlib.image.imread(path)[..., :3]).astype(np.int64)
    return len(np.unique(pixels @ [1 << 16, 1 << 8, 1]))


@pytest.mark.parametrize("n_logs", [0, 2, SMOOTHED_FROM + 1])
def test_a_run_of_any_length_is_drawn(tmp_path: Path, n_logs: int) -> None:
    path = tmp_path / "curves.png"

    draw(lines(n_logs), path, title="a run", best=None)
    drawn = path.read_bytes()

    assert drawn.startswith(b"\x89PNG")
    assert colours(path) > 20
    assert list(tmp_path.iterdir()) == [path]
    if n_logs == 2:
        draw(lines(n_logs), path, title="a run", best=20)
        assert path.read_bytes() != drawn


def test_without_held_out_pairs_there_is_less_to_draw(tmp_path: Path) -> None:
    draw(lines(9), tmp_path / "with.png", title="")
    draw(lines(9, held_out=False), tmp_path / "without.png", title="")
    with_, without = (matplotlib.image.imread(tmp_path / f"{n}.png") for n in ("with", "without"))
    assert with_.shape[0] > without.shape[0]


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="can't be written"):
        draw(lines(2), tmp_path / "nowhere" / "curves.png", title="")


def test_smoothing_keeps_a_line_and_takes_away_a_zigzag() -> None:
    assert smoothed([2.0] * 9) == [2.0] * 9
    zigzag = [0.0, 1.0] * 30
    assert max(smoothed(zigzag)) - min(smoothed(zigzag)) < 0.1
    assert len(smoothed(zigzag)) == len(zigzag)
