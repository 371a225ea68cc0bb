"""`prepare`: files in, pairs and a report out."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from alm2vec_search import terminal
from alm2vec_search.errors import PairError, TrainingError
from trainer.prepare.command import app

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Dump, Read, Touch
    from typer.testing import Result

TRAIN = "audiocap_id,youtube_id,start_time,caption\n91139,r1nicOVtvkQ,130,A woman talks nearby\n"
CLOTHO = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\na.wav,a,b,c,d,e\n"
QUESTION = {"sound": "a.wav", "question": "What is it?", "answer": "Rain."}


@pytest.fixture(autouse=True)
def _talk_to_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The console is made once a process, and would write to another test's stderr."""
    monkeypatch.setattr(terminal, "talk", terminal.talk.__wrapped__)


def prepare(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


class TestCommands:
    def test_audiocaps(self, data: Path, out: Path, touch: Touch) -> None:
        (data / "val.csv").write_text(TRAIN)
        touch("r1nicOVtvkQ.wav")

        result = prepare("audiocaps", "--source", data, "-o", out, "--split", "val")

        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.endswith("pairs.jsonl: 2 pairs of 1 clip\n")

    def test_clotho(self, data: Path, out: Path, touch: Touch, read: Read) -> None:
        (data / "clotho_captions_evaluation.csv").write_text(CLOTHO)
        touch("audio/a.wav")
        words = ("--source", data, "-o", out, "--split", "evaluation", "--audio", data / "audio")

        assert prepare("clotho", *words).exit_code == 0

        assert len(read(out)) == 10

    def test_audioqa(self, data: Path, out: Path, touch: Touch, dump: Dump, read: Read) -> None:
        dump("a.json", [QUESTION])
        touch("a.wav")

        assert prepare("audioqa", "--source", data / "a.json", "-o", out).exit_code == 0

        assert read(out)[0].document.text == "Rain."

    @pytest.mark.parametrize(("part", "written"), [("I", 2), ("II", 1)])
    def test_librisqa(
        self, part: str, written: int, data: Path, out: Path, touch: Touch, dump: Dump, read: Read
    ) -> None:
        speech = {"speech_path": "train-clean-360/1/2/1-2-0000.wav"}
        dump("LibriSQA-PartI-train.json", [speech | {"question": "What is it?"}])
        asked = {"question_and_option": "What?\nA. rain\nB. snow", "answer": "A"}
        dump("LibriSQA-PartII-train.json", [speech | asked])
        touch("LibriSpeech/train-clean-360/1/2/1-2-0000.flac")

        assert prepare("librisqa", "--source", data, "-o", out, "--part", part).exit_code == 0

        assert len(read(out)) == written

    def test_labels(self, data: Path, out: Path, touch: Touch, read: Read) -> None:
        (data / "labels.csv").write_text("path,text\na.wav,rain\n")
        touch("a.wav")

        assert prepare("labels", "--source", data, "-o", out, "--name", "mine").exit_code == 0

        assert {pair.source for pair in read(out)} == {"mine"}


class TestReport:
    @pytest.fixture
    def labels(self, data: Path, touch: Touch) -> Path:
        (data / "labels.csv").write_text("path,text\na.wav,rain\nb.wav,snow\n")
        touch("a.wav")
        return data / "labels.csv"

    def test_what_is_missing_is_said_and_is_1(self, labels: Path, out: Path) -> None:
        result = prepare("labels", "--source", labels, "-o", out)

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.endswith("no audio file: 1 clip\n  b.wav\n")

    def test_for_machines(self, labels: Path, out: Path) -> None:
        result = prepare("labels", "--source", labels, "-o", out, "--json")

        record: dict[str, Any] = json.loads(result.stdout)
        assert record == {
            "out": str(out),
            "written": 2,
            "clips": 1,
            "missing": ["b.wav"],
            "set_aside": [],
        }
        assert result.exit_code == 1


class TestErrors:
    def test_nothing_found(self, data: Path, out: Path) -> None:
        (data / "train.csv").write_text(TRAIN)

        result = prepare("audiocaps", "--source", data, "-o", out)

        assert isinstance(result.exception, TrainingError)
        assert not out.exists()

    def test_another_file(self, data: Path, out: Path) -> None:
        (data / "train.csv").write_text(CLOTHO)

        result = prepare("audiocaps", "--source", data, "-o", out)

        assert isinstance(result.exception, PairError)

    @pytest.mark.parametrize(
        "words",
        [("--split", "dev"), ("--source",), (), ("-o", "pairs.jsonl", "--source", ".", "x")],
    )
    def test_usage(self, words: tuple[str, ...]) -> None:
        assert prepare("audiocaps", *words).exit_code == 2


def test_it_starts_quickly() -> None:
    heavy = "torch transformers numpy pydantic soundfile av".split()
    code = f"import sys, trainer.prepare.command; print([m for m in {heavy} if m in sys.modules])"

    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout

    assert loaded == "[]\n"


def test_preparing_needs_no_torch() -> None:
    code = (
        "import sys; from trainer.prepare import audiocaps, audioqa, clotho, labels, librisqa\n"
        "print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout

    assert loaded == "[]\n"
