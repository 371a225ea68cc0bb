"""The command: where a report goes, and what is refused."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
import typer
from sample_runs import run, written
from typer.testing import CliRunner

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.report.cli import report

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    return written(run(), tmp_path / "run.json")


def test_markdown_to_stdout(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([measured])
    out, err = capsys.readouterr()
    assert out.startswith("# Evaluation\n\n")
    assert "| **small** | vectors | **40.0** (38.0–42.0) |" in out
    assert out.endswith("\n")
    assert not out.endswith("\n\n\n")
    assert err == ""


def test_markdown_to_a_file(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([measured])
    to_stdout = capsys.readouterr().out
    output = measured.parent / "new" / "report.md"
    report([measured], output)
    assert output.read_text("utf-8") == to_stdout
    out, err = capsys.readouterr()
    assert out == ""
    assert "report.md" in err


def test_a_page(measured: Path) -> None:
    output = measured.with_name("report.html")
    report([measured], output)
    assert output.read_text("utf-8").startswith("<!doctype html>")


def test_runs_come_before_or_after_the_options(measured: Path) -> None:
    other = written(run(model="other"), measured.with_name("other.json"))
    app = typer.Typer()
    app.command()(report)
    output = measured.with_name("report.md")
    done = CliRunner().invoke(app, [str(measured), "-o", str(output), str(other)])
    assert done.exit_code == 0, done.output
    assert "| **other** |" in output.read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("report.txt", "a report is a .md or a .html file"),
        ("report", "a report is a .md or a .html file"),
        ("report.HTML", "a report is a .md or a .html file"),
        ("folder.md", "is a folder"),
    ],
)
def test_where_it_cannot_go(measured: Path, name: str, complaint: str) -> None:
    (measured.parent / "folder.md").mkdir()
    with pytest.raises(EvaluationError, match=complaint):
        report([measured], measured.with_name(name))
    assert not (measured.parent / name).is_file()


def test_a_run_is_never_overwritten(measured: Path) -> None:
    named = measured.rename(measured.with_suffix(".md"))
    before = named.read_bytes()
    with pytest.raises(EvaluationError, match="is one of the runs"):
        report([named], named.parent / "." / named.name)
    assert named.read_bytes() == before


def test_what_is_no_run(measured: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.json"
    stranger.write_text("{}", "utf-8")
    output = tmp_path / "report.md"
    with pytest.raises(EvaluationError, match="is no run"):
        report([measured, stranger], output)
    assert not output.exists()


def test_the_template_is_a_file_of_the_package() -> None:
    assert files("alm2vec_search.evaluation.report").joinpath("page.html.jinja").is_file()
