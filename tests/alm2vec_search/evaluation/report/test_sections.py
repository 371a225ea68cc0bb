"""Which sections there are, which rows they have, and what is said of each run."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_runs import choices, labels, retrieval, run, written

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.report.published import published
from alm2vec_search.evaluation.report.sections import (
    MOST_MEASURES,
    NAMED,
    NOT_KNOWN,
    Section,
    Table,
    facts_of,
    read_runs,
    sections_of,
    sources_of,
    systems_table,
)
from alm2vec_search.evaluation.runs import Cost, Figure, Run, TaskResult

A, B, C = Path("a.json"), Path("b.json"), Path("c.json")


def only(*runs: Run) -> Section:
    (section,) = sections_of([(Path(f"{i}.json"), found) for i, found in enumerate(runs)])
    return section


def texts(table: Table, head: str) -> list[str]:
    (row,) = [row for row in table.rows if row.head == head]
    return [cell.text for cell in row.cells]


def facts(found: Run) -> dict[str, str]:
    return dict(facts_of(only(found).runs[0]))


def test_each_set_is_a_section() -> None:
    runs = [(A, run()), (B, run("labels", "mine", labels())), (C, run(model="other"))]
    assert [(s.title, len(s.runs)) for s in sections_of(runs)] == [("AudioCaps", 2), ("mine", 1)]
    folders = [(A, run("labels", "mine", labels())), (B, run("labels", "yours", labels()))]
    assert [s.title for s in sections_of(folders)] == ["mine", "yours"]


def test_the_same_system_twice_has_two_rows() -> None:
    section = only(run(), run(), run(system={"detail": "int8"}), run(model="other"))
    assert [r.label for r in section.runs] == [
        "small (0.json)",
        "small (1.json)",
        "small, int8",
        "other",
    ]
    ours = [row.head for row in section.tables[0].rows if row.ours]
    assert ours == [r.label for r in section.runs]


@pytest.mark.parametrize("key", ["audiocaps", "clotho", "librisqa", "mmau-mini"])
def test_all_published_systems_have_a_row(key: str) -> None:
    table = only(run(key, key)).tables[0]
    heads = list(dict.fromkeys(row.head for row in table.rows if not row.ours))
    assert heads == [system.name for system in published().systems_on(key)]
    assert {len(row.cells) + 1 for row in table.rows} == {len(table.columns)}
    assert table.note


def test_ours_stand_below_what_was_printed() -> None:
    table = only(run()).tables[0]
    printed = texts(table, "ALM2Vec-FT")
    assert printed == [
        "vectors",
        "43.2",
        "78.0",
        "87.8",
        "55.5",
        "80.0",
        "88.2",
        "–",
        "ALM2Vec paper",
    ]
    assert texts(table, "small") == [
        *("vectors", "40.0", "70.0", "80.0", "50.0", "80.0", "90.0"),
        *("10 / 50", "measured here"),
    ]
    assert table.rows[-1].cells[1].interval == "38.0–42.0"
    assert texts(table, "MS-CLAP")[2] == NOT_KNOWN


def test_what_a_run_has_not_measured_is_left_open() -> None:
    table = only(run("mmau-mini", "MMAU", choices())).tables[0]
    assert texts(table, "small") == [
        *("vectors", "63.0", "61.7", "74.8", NOT_KNOWN),
        *("1,000 questions", "measured here"),
    ]


def test_runs_stand_side_by_side() -> None:
    one = run("labels", "mine", labels())
    other = run("labels", "mine", retrieval("audio to text"), model="other")
    (table,) = only(one, other).tables
    assert table.title == "Figures"
    assert table.columns[:5] == ("task", "system", "queries", "pool", "R@1")
    by_text = dict(zip(table.columns[1:], texts(table, "text to audio"), strict=True))
    by_sound = dict(zip(table.columns[1:], texts(table, "audio to text"), strict=True))
    assert (by_text["system"], by_text["queries"], by_text["R@1"]) == ("small", "40", "60.0")
    assert by_text["mAP@10, mean over labels"] == "55.0"
    assert (by_sound["system"], by_sound["nDCG@10"]) == ("other", "50.0")
    assert by_sound["mAP@10, mean over labels"] == NOT_KNOWN


def test_domains_have_a_table_of_their_own() -> None:
    *_, whole, parts = only(run("mmau-mini", "MMAU", choices())).tables
    assert texts(whole, "multiple choice") == ["small", "1,000", NOT_KNOWN, "63.0"]
    assert (parts.title, parts.columns) == ("By domain", ("task and domain", "small"))
    assert [row.head for row in parts.rows] == ["multiple choice: music", "multiple choice: sound"]
    assert parts.rows[0].cells[0].interval == "58.7–64.7, n = 334"


def test_the_main_measures_of_all_tasks_come_first_and_not_all_are_shown() -> None:
    many = tuple(Figure(metric=f"ndcg@{k}", value=0.5, n=5) for k in range(1, 20))
    other = (Figure(metric="v_measure", value=0.25, n=5),)
    tasks = [
        TaskResult(name="ClothoT2A", queries=5, figures=many),
        TaskResult(name="clusters", queries=5, figures=other),
        TaskResult(name="empty", queries=0, figures=()),
    ]
    (table,) = only(run("mteb", "MTEB", *tasks)).tables
    assert table.columns[4:6] == ("nDCG@1", "v_measure")
    assert len(table.columns) == 4 + MOST_MEASURES
    assert texts(table, "clusters")[3:5] == [NOT_KNOWN, "25.0"]
    assert table.note == f"{20 - MOST_MEASURES} more measures are in the files of the runs."


def test_others_are_held_against_the_first_query_by_query() -> None:
    def asked(*places: int | None, groups: tuple[int, ...] = (0, 1, 2, 3)) -> TaskResult:
        figures = (Figure(metric="accuracy", value=0.5, n=4),)
        return TaskResult(name="t", queries=4, figures=figures, places=places, groups=groups)

    base, better = asked(0, 1, None, 0), asked(0, 0, None, 0)
    others = asked(0, 0, 0, 0, groups=(0, 0, 1, 1))
    section = only(
        run("labels", "mine", base),
        run("labels", "mine", better, model="better"),
        run("labels", "mine", others, model="of other groups"),
    )
    table = section.tables[-1]
    assert table.title == "Less or more than small"
    assert table.columns == ("task", "better", "of other groups")
    (row,) = table.rows
    assert (row.cells[0].text, row.cells[1].text) == ("+25.0", NOT_KNOWN)
    assert row.cells[0].interval == "+0.0 to +75.0"
    assert "Less or more" not in only(run("labels", "mine", base)).tables[-1].title


def test_what_is_missing_is_counted_and_named() -> None:
    found = facts(run(missing=("a.wav",), unreadable=tuple(f"{i}.wav" for i in range(1200))))
    assert found["Missing"] == "1 listed clip without a file: a.wav"
    assert found["Unreadable"].startswith("1,200 files, in no pool: 0.wav, 1.wav")
    assert found["Unreadable"].endswith(f"and {1200 - NAMED:,} more")
    assert "Set aside" not in found


def test_cost_says_on_how_many_cores() -> None:
    cost = Cost(audio_s=9000, load_s=2, encode_s=280.25, total_s=1312, cores=2)
    assert facts(run(cost=cost))["Cost"] == (
        "1,312.0 s on 2 cores (loading 2.0 s, embedding 280.2 s); 2 h 30 min of sound"
    )
    assert "Cost" not in facts(run())


def test_all_notes_are_there() -> None:
    (reported,) = only(run(notes=("one", "two"))).runs
    assert [text for label, text in facts_of(reported) if label == "Note"] == ["one", "two"]


def test_systems_of_the_sets_that_are_shown() -> None:
    captions, own = only(run()), only(run("labels", "mine", labels()))
    table = systems_table([captions, own])
    assert table is not None
    assert [row.head for row in table.rows] == [s.name for s in published().systems_on("audiocaps")]
    assert texts(table, "LAION-CLAP")[1] == "--model st:laion/clap-htsat-unfused"
    assert texts(table, "WavCaps-CLAP FT")[1].startswith("can't be run here")
    assert len(sources_of([captions])) == 3
    assert systems_table([own]) is None
    assert sources_of([own]) == ()


def test_what_cannot_be_reported(tmp_path: Path) -> None:
    path = written(run(), tmp_path / "run.json")
    assert read_runs([path]) == [(path, run())]
    with pytest.raises(EvaluationError, match="nothing to report"):
        read_runs([])
    with pytest.raises(EvaluationError, match="is given twice"):
        read_runs([path, tmp_path / "." / "run.json"])
    with pytest.raises(EvaluationError, match="can't be read"):
        read_runs([tmp_path / "none.json"])
