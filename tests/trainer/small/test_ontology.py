from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from trainer.small.ontology import Ontology

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ontology(tmp_path: Path) -> Ontology:
    """Animal: Pet: Dog: Bark; Dog is a kind of Canidae, too, and Hum stands alone."""
    kinds = {"Animal": ["Pet", "Canidae"], "Pet": ["Dog"], "Canidae": ["Dog"], "Dog": ["Bark"]}
    names = ["Animal", "Pet", "Canidae", "Dog", "Bark", "Hum"]
    entries = [
        {"id": f"/m/{name}", "name": name, "child_ids": [f"/m/{k}" for k in kinds.get(name, [])]}
        for name in names
    ]
    path = tmp_path / "ontology.json"
    path.write_text(json.dumps(entries))
    return Ontology.read(path)


def test_what_a_sound_is_a_kind_of_comes_nearest_first_and_once(ontology: Ontology) -> None:
    assert list(ontology.above("Bark")) == ["Dog", "Pet", "Canidae", "Animal"]
    assert list(ontology.above("Hum")) == []
    assert list(ontology.above("a sound that isn't in it")) == []


def test_a_sound_without_a_class_of_its_own_has_the_nearest(ontology: Ontology) -> None:
    known = {"Animal": 4, "Dog": 7}

    assert ontology.columns(["Bark", "Dog", "Pet", "Hum"], known) == [7, 4]
