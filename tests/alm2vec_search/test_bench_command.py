"""`alm2vec bench`, from end to end, with the toy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alm2vec_search.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_line import CommandLine

QUICK = ("--device", "cpu", "--clips", "4", "--threads", "1")
PARTS = ["audio encoder", "language model", "whole"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small products, and torch with as many threads afterwards as before."""
    import torch

    monkeypatch.setattr("alm2vec_search.model.speed.CPU_PRODUCTS", (256,))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_as_json(alm2vec: CommandLine) -> None:
    answer = alm2vec("bench", "toy", *QUICK, "--dtype", "float32", "--naive", "--json")

    assert answer.exit_code == 0, answer.err
    (record,) = answer.records
    assert (record["architecture"], record["device"], record["dtype"]) == ("toy", "cpu", "float32")
    assert record["threads"] == 1
    assert record["device_name"]
    assert record["parameters"]["language_model"] > record["parameters"]["audio_projector"] > 0
    assert record["peak_flops_per_s"]["float32"] > 0
    assert (record["shortest_s"], record["longest_s"]) == (10, 10)
    for part in ("audio_encoder", "language_model", "whole", "one_at_a_time"):
        speed = record[part]
        assert speed["clips"] == 4
        assert speed["times_real_time"] == pytest.approx(10 * speed["clips_per_s"])
        assert 0 < speed["share"] < 1.5
    assert record["gain"] > 0
    assert record["padding"] == {"samples": 0, "tokens": 0}
    assert record["memory_bytes"] > 0


def test_lines_for_pipes_and_talk_for_people(alm2vec: CommandLine) -> None:
    answer = alm2vec("bench", "toy", *QUICK, "--seconds", "1", "--seconds", "0.5-2")

    lines = [line.split("\t") for line in answer.out.splitlines()]
    assert [line[:2] for line in lines] == [[s, part] for s in ("1", "0.5-2") for part in PARTS]
    assert all(float(number) > 0 for line in lines for number in line[2:])
    assert "toy with random weights, on cpu" in answer.err
    assert "1 thread" in answer.err
    assert "parameters: audio encoder 41,920, " in answer.err
    assert "of a plain product in " in answer.err
    assert "of memory at the most" in answer.err
    assert "one at a time" not in answer.err


def test_a_table_on_a_terminal(alm2vec: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    answer = alm2vec("bench", "toy", *QUICK, "--seconds", "1", "--naive")

    assert "of the peak" in answer.out.splitlines()[0]
    assert [name for name in (*PARTS, "one at a time") if f"1 s  {name} " not in answer.out] == []
    assert answer.out.count("%") == 4


def test_settings_are_heeded(alm2vec: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALM2VEC_DTYPE", "bfloat16")
    monkeypatch.setenv("ALM2VEC_DEVICE", "cpu")
    answer = alm2vec("bench", "toy", "--clips", "1", "--seconds", "1", "--threads", "1", "--json")

    assert answer.records[0]["dtype"] == "bfloat16"
    assert list(answer.records[0]["peak_flops_per_s"]) == ["bfloat16"]


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["70b"], 3, "no architecture is called 70b\nhint: use one of 7b, 0.6b, base, small, toy"),
        (["toy", "--device", "cuda:7"], 3, "the device cuda:7 can't be used"),
        (["toy", "--device", "nowhere"], 3, "the device nowhere can't be used"),
        (["toy", "--dtype", "float8"], 2, "dtype"),
        (["toy", "--seconds", "long"], 2, "--seconds long: not a length"),
        (["toy", "--seconds", "0"], 2, "--seconds 0: not a length"),
        (["toy", "--seconds", "5-2"], 2, "--seconds 5-2: not a length"),
        (["toy", "--seconds", "nan"], 2, "--seconds nan: not a length"),
        (["toy", "--seconds", "1e999"], 2, "not a length"),
        (["toy", "--seconds", "31"], 2, "--seconds 31: the model hears 30 s of a sound"),
        (["toy", "--clips", "0"], 2, "--clips"),
    ],
)
def test_mistakes(alm2vec: CommandLine, words: list[str], code: int, complaint: str) -> None:
    answer = alm2vec("bench", *words)

    assert answer.exit_code == code
    assert complaint in answer.err
    assert answer.out == ""


def test_no_room(alm2vec: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alm2vec_search.model.architectures.device_memory", lambda _: 10**9)

    answer = alm2vec("bench", "base", "--device", "cpu", "--dtype", "float32")

    assert answer.exit_code == 3
    assert "the weights need 2.3 GB, and the device cpu has 1.0 GB in all" in answer.err
    assert "hint: use --dtype bfloat16" in answer.err


def test_out_of_memory_on_the_way(alm2vec: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise ModelError("the device ran out of memory", hint="use fewer --clips")

    monkeypatch.setattr("alm2vec_search.model.speed.measure", full)

    answer = alm2vec("bench", "toy", *QUICK)

    assert (answer.exit_code, answer.out) == (3, "")
    assert "hint: use fewer --clips" in answer.err


def test_help_names_all_there_are(alm2vec: CommandLine) -> None:
    from alm2vec_search.model.architectures import ARCHITECTURES

    answer = alm2vec("bench", "--help")

    assert all(name in answer.out for name in ARCHITECTURES)
