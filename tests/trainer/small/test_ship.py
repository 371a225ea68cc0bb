"""What comes with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alm2vec_search.errors import ModelError
from alm2vec_search.model.hub import BUNDLED_FOLDER
from alm2vec_search.model.start import SHARDS
from trainer.small.ship import ship

if TYPE_CHECKING:
    from pathlib import Path

WRITTEN = ("config.json", "tokenizer.json", "model.safetensors.index.json", *set(SHARDS.values()))


def test_the_bundled_model_is_what_it_writes(tmp_path: Path) -> None:
    """Bases and all, byte for byte, from a model in float32."""
    ship(BUNDLED_FOLDER, tmp_path / "out")

    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    assert written == {name: (BUNDLED_FOLDER / name).read_bytes() for name in WRITTEN}


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        ship(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
