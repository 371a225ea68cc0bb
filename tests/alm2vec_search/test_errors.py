"""The error tree: as drawn, whole after a journey, and none without an exit code."""

from __future__ import annotations

import inspect
import pickle
import re
from pathlib import Path

import pytest

from alm2vec_search import errors
from alm2vec_search.cli import exit_code
from alm2vec_search.errors import (
    Alm2VecError,
    CollectionBusy,
    CollectionNotFound,
    DecodeError,
    IncompatibleCollection,
    ModelError,
    QueryError,
)

EXAMPLES: list[Alm2VecError] = [
    DecodeError(Path("a.wav"), "not audio"),
    CollectionNotFound("/store"),
    CollectionBusy("/store", holder="alm2vec index (process 1)"),
    IncompatibleCollection("/store", expected="a", found="b", hint="c"),
    QueryError("empty", hint="ask"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_travel_whole(error: Alm2VecError) -> None:
    travelled = pickle.loads(pickle.dumps(error))
    assert type(travelled) is type(error)
    assert str(travelled) == str(error)
    assert vars(travelled) == vars(error)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"^ {4}[│├└─ ]*(\w+)", inspect.getdoc(errors) or "", re.MULTILINE)
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, Alm2VecError)
    ]
    assert sorted(drawn) == sorted(kind.__name__ for kind in kinds)


def test_exit_codes() -> None:
    assert [exit_code(error) for error in EXAMPLES] == [2, 3, 3, 3, 2]
    assert exit_code(ModelError("no model")) == 3
