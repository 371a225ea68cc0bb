"""What is said of a preparation."""

from __future__ import annotations

from pathlib import Path

from trainer.prepare.report import Findings, PrepareReport, SetAside


def report(**fields: object) -> PrepareReport:
    whole = {"out": Path("p.jsonl"), "written": 2400, "clips": 1200, "missing": (), "set_aside": ()}
    return PrepareReport(**whole | fields)  # type: ignore[arg-type]


def test_all_was_there() -> None:
    assert report().lines() == ["p.jsonl: 2,400 pairs of 1,200 clips"]
    assert report().is_clean


def test_the_first_ten_are_named() -> None:
    missing = report(missing=tuple(f"clip {n}" for n in range(1012)))

    assert missing.lines()[1:] == [
        "no audio file: 1,012 clips",
        *(f"  clip {n}" for n in range(10)),
        "  and 1,002 more",
    ]
    assert not missing.is_clean


def test_what_was_set_aside_says_why() -> None:
    aside = report(set_aside=(SetAside("a\n.csv:7", "the caption is blank"),))

    assert aside.lines()[1:] == ["set aside: 1", "  a\\n.csv:7: the caption is blank"]
    assert not aside.is_clean


def test_as_a_record() -> None:
    aside = report(missing=("x",), set_aside=(SetAside("a.csv:7", "blank"),))

    assert aside.record() == {
        "out": "p.jsonl",
        "written": 2400,
        "clips": 1200,
        "missing": ("x",),
        "set_aside": [{"where": "a.csv:7", "reason": "blank"}],
    }


def test_a_clip_is_missing_once() -> None:
    findings = Findings()

    for where in ("a.csv:2", "a.csv:3"):
        assert findings.only([], "x", where) is None

    assert list(findings.missing) == ["x"]
    assert findings.only([Path("x.wav")], "x", "a.csv:4") == Path("x.wav")
