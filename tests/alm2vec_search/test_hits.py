"""Hits as they are written: each format, read back by what it is made for."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest

from alm2vec_search.commands.hits import CSV_COLUMNS, Format, write_csv_header, write_hits
from alm2vec_search.domain import (
    ClauseScore,
    Content,
    Explanation,
    Hit,
    Label,
    Notes,
    Place,
    TimeSpan,
    Verdict,
)
from alm2vec_search.errors import QueryError
from alm2vec_search.records import record

LIBRARY = Path("/music")
RAIN = Hit(
    path=LIBRARY / "field" / "rain.wav",
    library=LIBRARY,
    span=TimeSpan(1.5, 4.0),
    score=0.8124999,
    content=Content("a" * 64, 1000, 9.87654, 44100, 2, Notes(tags=("weather", "wet"))),
    place=Place(LIBRARY / "field" / "rain.wav", LIBRARY, 0, Notes(tags=("wet", "field"))),
    verdict=Verdict.STRONG,
    probability=0.91,
)
DOG = Hit(LIBRARY / "dog.flac", LIBRARY, TimeSpan(0, 60.25), 0.5)


def at(name: str | Path, start_s: float = 0.0, end_s: float = 1.0) -> Hit:
    return Hit(LIBRARY / name, LIBRARY, TimeSpan(start_s, end_s), 0.5)


class TestExplained:
    WHY = Explanation(TimeSpan(2, 3), "aspect speaker", (Label("Rain", 0.81), Label("Wind", 0.2)))

    def test_in_a_table(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_hits([replace(RAIN, words_score=2.34, explanation=self.WHY)], Format.TABLE)
        said = capsys.readouterr().out
        for line in (
            "best window: 0:02.0 to 0:03.0",
            "compared: aspect speaker",
            "an answer in 91% of such cases",
            "names and tags: 2.3 (BM25)",
            "heard: Rain 0.81 · Wind 0.20",
        ):
            assert line in said

    def test_as_json(self) -> None:
        assert record(replace(RAIN, explanation=self.WHY), rank=1)["explanation"] == {
            "window": [2, 3],
            "compared": "aspect speaker",
            "heard": {"Rain": 0.81, "Wind": 0.2},
        }


class TestJson:
    def test_what_is_always_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_hits([DOG], Format.JSON)
        assert json.loads(capsys.readouterr().out) == {
            "rank": 1,
            "path": "/music/dog.flac",
            "start_s": 0,
            "end_s": 60.25,
            "score": 0.5,
            "library": "/music",
        }

    def test_a_line_a_hit_by_rank_with_the_id_of_its_question(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_hits([RAIN, DOG], Format.JSON, query_id=7)
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(one["id"], one["rank"]) for one in told] == [(7, 1), (7, 2)]

    def test_what_is_known_of_the_sound(self) -> None:
        told = record(RAIN, rank=1)
        assert told["score"] == 0.8125
        assert (told["verdict"], told["probability"]) == ("strong", 0.91)
        sound = (told["duration_s"], told["channels"], told["sampling_rate"])
        assert sound == (9.877, 2, 44100)
        assert told["tags"] == ["weather", "wet", "field"]

    def test_a_score_for_each_clause(self) -> None:
        clauses = (ClauseScore("rain", 1, 0.87654321), ClauseScore("music", -2, 0.1))
        told = record(Hit(DOG.path, LIBRARY, DOG.span, 0.5, clauses=clauses), rank=1)
        assert told["clauses"] == [
            {"clause": "rain", "weight": 1, "score": 0.876543},
            {"clause": "music", "weight": -2, "score": 0.1},
        ]

    @pytest.mark.parametrize(
        ("hit", "field", "value"),
        [
            (Hit(DOG.path, LIBRARY, DOG.span, 0.5, silent=True), "silent", True),
            (Hit(DOG.path, LIBRARY, DOG.span, 0.5, reembedded=True), "reembedded", True),
            (Hit(DOG.path, LIBRARY, DOG.span, 0.5, words_score=0.0), "words_score", 0.0),
            (
                Hit(DOG.path, LIBRARY, DOG.span, 0.5, copies=(Path("/b.wav"), Path("/c.wav"))),
                "copies",
                ["/b.wav", "/c.wav"],
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_told_only_where_it_is_so(self, hit: Hit, field: str, value: object) -> None:
        assert field not in record(DOG, rank=1)
        assert record(hit, rank=1) == {**record(DOG, rank=1), field: value}

    def test_a_name_that_is_no_text_survives(self, capsys: pytest.CaptureFixture[str]) -> None:
        path = Path(os.fsdecode(b"/music/caf\xe9.wav"))
        write_hits([at(path)], Format.JSON)
        assert os.fsencode(json.loads(capsys.readouterr().out)["path"]) == os.fsencode(path)


class TestCsv:
    @pytest.mark.parametrize("name", ["a,b.wav", 'a "quoted", one.wav', "plain.wav", "=1+1.wav"])
    def test_names_come_back(self, capsys: pytest.CaptureFixture[str], name: str) -> None:
        (row,) = rows_of([at(name)], capsys)
        assert row["path"] == f"/music/{name}"

    def test_a_line_break_in_a_name_comes_back(self, capsys: pytest.CaptureFixture[str]) -> None:
        first, second = rows_of([at("a\nb.wav"), at("c.wav")], capsys)
        assert (first["path"], second["path"]) == ("/music/a\nb.wav", "/music/c.wav")

    def test_a_library_with_commas_and_line_breaks(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        library = Path('/my, "own"\nmusic')
        (row,) = rows_of([Hit(library / "x.wav", library, TimeSpan(0, 1), 0.5)], capsys)
        assert row["library"] == str(library)

    def test_a_library_whose_name_is_no_text(
        self, capsysbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        library = Path(os.fsdecode(b"/caf\xe9"))
        write_hits([Hit(library / "x.wav", library, TimeSpan(0, 1), 0.5)], Format.CSV)
        assert b"x.wav,0,1,0.5," in capsysbinary.readouterr().out

    def test_a_column_for_each_thing(self, capsys: pytest.CaptureFixture[str]) -> None:
        rain, dog = rows_of([RAIN, DOG], capsys, query_id='x, "y"')
        assert list(rain) == list(CSV_COLUMNS)
        assert {**rain} == {
            "id": 'x, "y"',
            "rank": "1",
            "path": "/music/field/rain.wav",
            "start_s": "1.5",
            "end_s": "4.0",
            "score": "0.8125",
            "verdict": "strong",
            "probability": "0.91",
            "duration_s": "9.877",
            "library": "/music",
        }
        assert (dog["rank"], dog["verdict"], dog["probability"], dog["duration_s"]) == (
            *("2", "", "", ""),
        )

    def test_without_an_id(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert rows_of([DOG], capsys)[0]["id"] == ""
        assert rows_of([DOG], capsys, query_id=0)[0]["id"] == "0"


def rows_of(
    hits: list[Hit], capsys: pytest.CaptureFixture[str], query_id: object = None
) -> list[dict[str, str]]:
    write_csv_header()
    write_hits(hits, Format.CSV, query_id)
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))


class TestPlaylist:
    def test_each_file_from_start_to_end(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_hits([RAIN, DOG], Format.M3U8)
        assert capsys.readouterr().out.splitlines() == [
            "#EXTM3U",
            "#EXTINF:2.500,rain",
            "#EXTVLCOPT:start-time=1.500",
            "#EXTVLCOPT:stop-time=4.000",
            "/music/field/rain.wav",
            "#EXTINF:60.250,dog",
            "#EXTVLCOPT:start-time=0.000",
            "#EXTVLCOPT:stop-time=60.250",
            "/music/dog.flac",
        ]

    @pytest.mark.parametrize(
        "name",
        [b"a\nb.wav", b"a\r\n#EXTM3U\r\nb.wav", b"caf\xe9.wav", b"a\tb %41?.wav", b"#1, a.wav"],
    )
    def test_any_name_is_one_line_and_comes_back(
        self, capsys: pytest.CaptureFixture[str], name: bytes
    ) -> None:
        hits = [at(os.fsdecode(name)), at("next.wav")]
        write_hits(hits, Format.M3U8)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 1 + 4 * len(hits)
        entries = [line for line in lines if not line.startswith("#")]
        assert [path_of(entry) for entry in entries] == [b"/music/" + name, b"/music/next.wav"]

    def test_an_address_only_where_it_has_to_be(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_hits([at("a\nb.wav"), at("100 % rain, wörds.wav")], Format.M3U8)
        first, second = (line for line in capsys.readouterr().out.splitlines() if line[0] != "#")
        assert first == "file:///music/a%0Ab.wav"
        assert second == "/music/100 % rain, wörds.wav"


def path_of(entry: str) -> bytes:
    """As a player takes an entry of a playlist."""
    if entry.startswith("file:"):
        return unquote_to_bytes(urlsplit(entry).path)
    return os.fsencode(entry)


class TestLabels:
    HITS = (
        Hit(DOG.path, LIBRARY, TimeSpan(20, 30), 0.9, verdict=Verdict.STRONG),
        Hit(DOG.path, LIBRARY, TimeSpan(0.25, 10), 0.456, verdict=Verdict.LIKELY),
        Hit(DOG.path, LIBRARY, TimeSpan(10, 20), 0.1),
    )

    def test_audacity_in_the_order_of_time(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_hits(self.HITS, Format.AUDACITY)
        assert capsys.readouterr().out.splitlines() == [
            "0.250000\t10.000000\tlikely 0.46",
            "10.000000\t20.000000\tmatch 0.10",
            "20.000000\t30.000000\tstrong 0.90",
        ]

    def test_tabs_in_a_name_break_no_label(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_hits([at("a\tb\nc.wav", 1, 2), at("a\tb\nc.wav", 3, 4)], Format.AUDACITY)
        labels = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert [(float(start), float(end)) for start, end, _ in labels] == [(1, 2), (3, 4)]

    def test_reaper_numbers_regions_in_the_order_of_time(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_hits(self.HITS, Format.REAPER)
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
        assert [row["#"] for row in rows] == ["R1", "R2", "R3"]
        assert [row["Name"] for row in rows] == ["likely 0.46", "match 0.10", "strong 0.90"]
        assert [row["Start"] for row in rows] == ["0.250000", "10.000000", "20.000000"]
        assert [row["End"] for row in rows] == ["10.000000", "20.000000", "30.000000"]
        assert [row["Length"] for row in rows] == ["9.750000", "10.000000", "10.000000"]

    @pytest.mark.parametrize(
        "form",
        [
            Format.AUDACITY,
            Format.REAPER,
        ],
    )
    def test_several_files_are_refused(
        self, form: Format, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(QueryError, match=f"^{form.value} is about one file") as caught:
            write_hits([RAIN, DOG], form)
        assert caught.value.hint is not None
        assert "--under FILE" in caught.value.hint
        assert capsys.readouterr().out == ""


class TestPaths:
    HITS = (at("b.wav", 0, 1), at("a.wav", 0, 1), at("b.wav", 1, 2))

    def test_each_once_best_first(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_hits(self.HITS, Format.PATHS)
        assert capsys.readouterr().out == "/music/b.wav\n/music/a.wav\n"

    def test_the_bytes_of_a_name(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        hits = [at(os.fsdecode(b"caf\xe9\n.wav")), *self.HITS]
        write_hits(hits, Format.PATHS0)
        out = capsysbinary.readouterr().out
        assert out == b"/music/caf\xe9\n.wav\0/music/b.wav\0/music/a.wav\0"


class TestLines:
    def test_fields_between_tabs(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_hits([RAIN, at("a\tb\nc.wav")], Format.LINES)
        assert capsys.readouterr().out == (
            "0.8125\t1.50\t4.00\t/music/field/rain.wav\n0.5000\t0.00\t1.00\t/music/a\\tb\\nc.wav\n"
        )

    def test_the_id_of_the_question_in_front(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_hits([DOG], Format.LINES, query_id="a\tb")
        assert capsys.readouterr().out == "a\\tb\t0.5000\t0.00\t60.25\t/music/dog.flac\n"


class TestTable:
    @pytest.fixture(autouse=True)
    def _wide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "160")

    def test_a_row_a_hit(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_hits([DOG], Format.TABLE)
        head, row = (line.split() for line in capsys.readouterr().out.splitlines())
        assert head == ["score", "from", "to", "file"]
        assert row == ["0.500", "0:00.0", "1:00.2", "/music/dog.flac"]

    def test_the_verdict_and_a_column_for_each_clause(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hits = [
            Hit(
                LIBRARY / f"{verdict.value}.wav",
                LIBRARY,
                TimeSpan(0, 1),
                0.5,
                verdict=verdict,
                clauses=(ClauseScore("[b]rain", 1, first), ClauseScore("music", -1, 0.25)),
            )
            for verdict, first in ((Verdict.STRONG, 0.75), (Verdict.LIKELY, 0.125))
        ]
        write_hits(hits, Format.TABLE)
        head, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
        assert head == ["score", "match", "[b]rain", "music", "from", "to", "file"]
        assert rows == [
            ["0.500", "strong", "0.75", "0.25", "0:00.0", "0:01.0", "/music/strong.wav"],
            ["0.500", "likely", "0.12", "0.25", "0:00.0", "0:01.0", "/music/likely.wav"],
        ]

    def test_copies_and_silence(self, capsys: pytest.CaptureFixture[str]) -> None:
        copies = (Path("/b.wav"), Path("/c.wav"))
        write_hits([Hit(DOG.path, LIBRARY, DOG.span, 0.5, True, copies)], Format.TABLE)
        row = capsys.readouterr().out.splitlines()[1]
        assert row.rstrip().endswith("/music/dog.flac  (+2 the same)  (silent)")

    def test_names_are_no_markup_and_stay_on_their_line(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_hits([at("[red]a\nb[/red].wav")], Format.TABLE, query_id="q1")
        title, _, row = capsys.readouterr().out.splitlines()
        assert title.strip() == "q1"
        assert row.rstrip().endswith(r"/music/[red]a\nb[/red].wav")
