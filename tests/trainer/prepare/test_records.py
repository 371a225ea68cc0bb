"""JSON as lists, lines and single values, read in pieces, with the lines they start at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from alm2vec_search.errors import PairError, TrainingError
from trainer.prepare import records
from trainer.prepare.records import read_records

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = [{"text": f'näht {n} \n \\ "', "nested": {"list": [n, None, [1.5e3]]}} for n in range(30)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.json"


@pytest.fixture(params=[1, 7, 1 << 20])
def _bytes_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_AT_ONCE", request.param)


@pytest.mark.usefixtures("_bytes_at_once")
class TestRead:
    @pytest.mark.parametrize("indent", [None, 2])
    def test_a_list(self, file: Path, indent: int | None) -> None:
        file.write_text(json.dumps(RECORDS, indent=indent, ensure_ascii=False), encoding="utf-8")

        assert [record for _, record in read_records(file)] == RECORDS

    @pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.NDJSON"])
    def test_lines(self, tmp_path: Path, name: str) -> None:
        file = tmp_path / name
        text = "\r\n".join(json.dumps(record) for record in RECORDS)
        file.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\n\n")

        assert list(read_records(file)) == list(enumerate(RECORDS, start=1))

    def test_one_value(self, file: Path) -> None:
        file.write_text(json.dumps({"data": RECORDS}, indent=1))

        assert list(read_records(file)) == [(1, {"data": RECORDS})]

    def test_the_line_that_a_record_starts_at(self, file: Path) -> None:
        file.write_text('\n[\n{"a":\n1}, {"a": 2}\n,\n\n{"a": 3}]\n')

        assert [(line, record["a"]) for line, record in read_records(file)] == [
            (3, 1),
            (4, 2),
            (7, 3),
        ]

    @pytest.mark.parametrize("text", ["", " \n", "[]", " [ ] \n"])
    def test_nothing(self, file: Path, text: str) -> None:
        file.write_text(text)

        assert list(read_records(file)) == []

    @pytest.mark.parametrize(
        ("text", "line", "message"),
        [
            ('[{"a": 1},\n{"a": 2}', 2, "the list has no end"),
            ('[{"a": 1},\n{"a": "2', 2, "not JSON: Unterminated string"),
            ('[{"a": 1},\n{"a":\n', 3, "not JSON: Expecting value"),
            ('[{"a": 1},\n{"a" 2}]', 2, "not JSON: Expecting ':' delimiter"),
            ('[{"a": 1}]\n[2]', 2, "more text after the list"),
            ("path,text\na.wav,a dog\n", 1, "not JSON: Expecting value"),
            ('[{"a":\n\n' + "9" * 5000 + "}]", 1, "not JSON: Exceeds the limit"),
        ],
    )
    def test_no_json(self, file: Path, text: str, line: int, message: str) -> None:
        file.write_text(text)

        with pytest.raises(PairError, match=message) as caught:
            list(read_records(file))

        assert (caught.value.file, caught.value.line) == (file, line)

    def test_no_text(self, file: Path) -> None:
        file.write_bytes(b'[{"a": 1},\n{"a": "f\xfcnf"}]')

        with pytest.raises(PairError, match=r"a.json:2: not UTF-8 text"):
            list(read_records(file))


def test_a_bad_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": 1}\n{"a": }\n')

    read = read_records(file)

    assert next(read) == (1, {"a": 1})
    with pytest.raises(PairError, match=r"a.jsonl:2: not JSON"):
        next(read)


def test_a_list_is_not_read_to_its_end_for_a_mistake(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_AT_ONCE", 64)
    file.write_bytes(b'[{"a": oops}, ' + b" " * 4096 + b"\xff]")

    with pytest.raises(PairError, match="not JSON"):  # and not: no text
        list(read_records(file))


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_what_git_keeps_elsewhere(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a.{suffix}"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 52900000\n")

    with pytest.raises(PairError, match="git keeps elsewhere") as caught:
        list(read_records(file))

    assert caught.value.hint == "git lfs pull fetches it"


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_file_that_is_not_there(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(TrainingError, match="can't be read: no such file"):
        list(read_records(tmp_path / f"a.{suffix}"))


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_nest_without_end(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a.{suffix}"
    file.write_text('{"a":' * 100_000)

    with pytest.raises(PairError, match="not JSON"):
        list(read_records(file))
