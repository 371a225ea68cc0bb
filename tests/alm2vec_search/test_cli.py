"""The command line from end to end: the bundled model, the real store, real sounds."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from ill_models import deaf
from index_driver import write_tone

from alm2vec_search.model.hub import BUNDLED_FOLDER

if TYPE_CHECKING:
    from command_line import CommandLine

SAMPLES = Path(__file__).parents[2] / "samples"
ALM2VEC = [str(Path(sys.executable).with_name("alm2vec"))]


@pytest.fixture(scope="module")
def sample_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the samples, made by a command of its own. Not to be changed."""
    store = tmp_path_factory.mktemp("samples") / "index"
    command = [*ALM2VEC, "index", str(SAMPLES), "--store", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return store


@pytest.fixture
def on_samples(sample_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALM2VEC_STORE", str(sample_store))


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """The small model in a folder, made another by how its documents are introduced."""
    folder = tmp_path / "other-model"
    shutil.copytree(BUNDLED_FOLDER, folder)
    config = json.loads((folder / "config.json").read_text())
    config["document_instruction"] = "a recording of"
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.usefixtures("on_samples")
class TestSearch:
    def test_by_words(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("search", "rooster crowing", "--json", "-k", "3")
        assert answer.exit_code == 0
        assert [record["rank"] for record in answer.records] == [1, 2, 3]
        first = answer.records[0]
        assert {"rank", "path", "start_s", "end_s", "score", "library"} <= set(first)
        assert first["library"] == str(SAMPLES)
        scores = [record["score"] for record in answer.records]
        assert scores == sorted(scores, reverse=True)

    def test_an_event_in_a_long_file_is_found_where_it_is(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("search", "rooster crowing", "--json", "--under", SAMPLES / "field")
        (hit,) = [r for r in answer.records if r["path"].endswith("ZOOM0021.opus")]
        assert hit["start_s"] <= 151 < hit["end_s"]

    def test_by_sound_finds_itself_first(self, alm2vec: CommandLine) -> None:
        path = SAMPLES / "animals" / "REC_0042.wav"
        answer = alm2vec("search", "--like", path, "--json", "-k", "1")
        (hit,) = answer.records
        assert hit["path"] == str(path)
        assert hit["score"] == pytest.approx(1.0, abs=1e-4)

    def test_by_a_region_of_a_sound(self, alm2vec: CommandLine) -> None:
        long_file = SAMPLES / "field" / "ZOOM0021.opus"
        answer = alm2vec("search", "--like", f"{long_file}@150-160", "--json", "-k", "1")
        (hit,) = answer.records
        assert (hit["path"], hit["start_s"]) == (str(long_file), 150.0)

    def test_the_same_sound_from_another_format(self, alm2vec: CommandLine, tmp_path: Path) -> None:
        samples, sampling_rate = soundfile.read(SAMPLES / "animals" / "REC_0042.wav")
        soundfile.write(tmp_path / "ref.mp3", samples, sampling_rate)
        answer = alm2vec("search", "--like", tmp_path / "ref.mp3", "--json", "-k", "1")
        assert answer.records[0]["path"].endswith("REC_0042.wav")

    def test_all_chunks(self, alm2vec: CommandLine) -> None:
        field = SAMPLES / "field" / "ZOOM0021.opus"
        best = alm2vec("search", "stream", "--under", field, "--json")
        every = alm2vec("search", "stream", "--under", field, "--all-chunks", "-k", "99", "--json")
        assert len(best.records) == 1
        assert len(every.records) >= 30
        assert every.records[0] == best.records[0]

    def test_lines_for_pipes(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("search", "stream", "-k", "2")
        for line in answer.out.splitlines():
            score, start_s, end_s, path = line.split("\t")
            assert -1 <= float(score) <= 1
            assert float(start_s) < float(end_s)
            assert Path(path).is_file()

    def test_paths(self, alm2vec: CommandLine) -> None:
        by_line = alm2vec("search", "stream", "--paths").out
        by_nul = alm2vec("search", "stream", "-0").out
        assert by_line.splitlines() == by_nul.split("\0")[:-1]
        assert all(Path(path).is_file() for path in by_line.splitlines())

    def test_many_queries(self, alm2vec: CommandLine, tmp_path: Path) -> None:
        queries = [
            {"id": "r", "text": "rooster crowing"},
            {"text": "church bells"},
            {"id": 7, "like": str(SAMPLES / "animals" / "REC_0042.wav")},
        ]
        file = tmp_path / "queries.jsonl"
        file.write_text("\n".join(map(json.dumps, queries)))
        answer = alm2vec("search", "--queries", file, "--json", "-k", "2")
        assert [record["id"] for record in answer.records] == ["r", "r", 2, 2, 7, 7]
        alone = alm2vec("search", "rooster crowing", "--json", "-k", "2").records
        assert [{"id": "r", **record} for record in alone] == answer.records[:2]

    def test_nothing_below_a_folder(self, alm2vec: CommandLine, tmp_path: Path) -> None:
        answer = alm2vec("search", "rooster", "--under", tmp_path, "--json")
        assert (answer.exit_code, answer.out, answer.err) == (0, "", "nothing found\n")

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            ([], "the query is empty"),
            (["  "], "the query is empty"),
            (["--like", "missing.wav"], "missing.wav: no such file"),
            (["--like", "{tmp}/text.wav"], "text.wav: not audio"),
            (["--like", f"{SAMPLES}/animals/REC_0042.wav@90-95"], "the region begins at 90.0 s"),
            (["--like", "x.wav@5-2"], "the region ends before it begins"),
            (["--queries", "{tmp}/missing.jsonl"], "can't be read: No such file"),
            (["--queries", "{tmp}/bad.jsonl"], "bad.jsonl:2: txet: Extra inputs"),
            (["--queries", "{tmp}/empty.jsonl"], "empty.jsonl:1: the query is empty"),
            (["rain", "--json", "--paths"], "exclude each other"),
            (["rain", "--queries", "x"], "both a query and --queries"),
        ],
    )
    def test_wrong_input(
        self, alm2vec: CommandLine, tmp_path: Path, words: list[str], complaint: str
    ) -> None:
        (tmp_path / "text.wav").write_text("not audio at all")
        (tmp_path / "bad.jsonl").write_text('{"text": "rain"}\n{"txet": "rain"}\n')
        (tmp_path / "empty.jsonl").write_text('{"text": " "}\n')
        answer = alm2vec("search", *(word.format(tmp=tmp_path) for word in words))
        assert answer.exit_code == 2
        assert answer.out == ""
        error, hint = answer.err.splitlines()
        assert error.startswith("error: ")
        assert complaint in error
        assert hint.startswith("hint: ")

    def test_usage(self, alm2vec: CommandLine) -> None:
        assert alm2vec("search", "rain", "--limit", "0").exit_code == 2
        assert alm2vec("search", "rain", "--nonsense").exit_code == 2
        assert alm2vec("dance").exit_code == 2

    def test_another_model_is_refused(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("index", SAMPLES, "--dtype", "float32", "--window", "5")
        assert answer.exit_code == 3
        assert "5 s chunks every 5 s" in answer.err
        assert "hint: index again with --rebuild" in answer.err

    def test_a_search_with_another_model_is_refused(
        self, alm2vec: CommandLine, other_model: Path
    ) -> None:
        answer = alm2vec("search", "rain", "--model", other_model)
        assert answer.exit_code == 3
        assert "was made by model small (" in answer.err
        assert f"not by model {other_model} (" in answer.err

    def test_a_model_that_is_not_there(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("search", "rain", "--model", "missing")
        assert answer.exit_code == 3
        assert answer.err.startswith("error: no model is called missing\nhint: ")

    def test_status(self, alm2vec: CommandLine, sample_store: Path) -> None:
        record = json.loads(alm2vec("status", "--json").out)
        n_files = sum(1 for p in SAMPLES.rglob("*") if p.suffix in AUDIO_IN_SAMPLES)
        assert record["files"] == n_files
        assert record["store"] == str(sample_store)
        assert record["skipped"] == []
        assert record["size_bytes"] > 100_000
        text = alm2vec("status").out
        assert str(SAMPLES) in text
        assert "model      small" in text


@pytest.mark.usefixtures("on_samples")
class TestSearchFlags:
    """What narrows an answer, what it is asked with, and how it is written."""

    def test_where_keeps_what_meets_the_condition(self, alm2vec: CommandLine) -> None:
        search = ("search", "church bells", "--json", "-k", "99")
        every = alm2vec(*search).records
        narrowed = alm2vec(*search, "--where", 'duration<5 and path:"animals/*"').records
        animals = str(SAMPLES / "animals") + os.sep
        expected = {r["path"] for r in every if r["duration_s"] < 5 and animals in r["path"]}
        assert 0 < len(expected) < len(every)
        assert {record["path"] for record in narrowed} == expected

    def test_a_condition_that_is_wrong_is_shown_where(self, alm2vec: CommandLine) -> None:
        condition = "duration<10 and colour:red"
        answer = alm2vec("search", "bells", "--where", condition)
        assert (answer.exit_code, answer.out) == (2, "")
        what, shown, mark, hint = answer.err.splitlines()
        assert what == "error: in the condition: there is no field colour (column 17)"
        assert shown == f"  {condition}"
        assert mark == "  " + " " * condition.index("colour") + "^"
        assert hint.startswith("hint: one of duration, ")

    def test_nothing_is_strong_enough(self, alm2vec: CommandLine) -> None:
        answer = alm2vec(
            *("search", "a helicopter taking off", "--min", "strong", "--fail-if-empty")
        )
        assert (answer.exit_code, answer.out, answer.err) == (1, "", "nothing found\n")

    def test_only_what_is_strong(self, alm2vec: CommandLine) -> None:
        answer = alm2vec(*("search", "dog barking", "--min", "strong", "--fail-if-empty", "--json"))
        assert answer.exit_code == 0
        assert {record["verdict"] for record in answer.records} == {"strong"}

    def test_a_hit_is_explained(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("search", "dog barking", "-k", "1", "--explain", "--json")
        (why,) = [record["explanation"] for record in answer.records]
        assert (why["window"][0], why["compared"]) == (0.0, "plain")
        assert why["heard"]["Dog"] > 0.9  # measured 0.93
        told = alm2vec("search", "dog barking", "-k", "1", "--explain", "--format", "table")
        assert "heard: Animal" in told.out
        assert "such cases" in told.out

    def test_more_of_this_and_less_of_that(self, alm2vec: CommandLine) -> None:
        search = ("search", "bells", "--json", "-k", "3", "--words", "0")
        more = alm2vec(*search, "--more", "2:running water").records
        less = alm2vec(*search, "--less", "2:running water").records
        water = {}
        for weight, records in ((2, more), (-2, less)):
            clauses = [[(c["clause"], c["weight"]) for c in r["clauses"]] for r in records]
            assert clauses == [[("bells", 1), ("running water", weight)]] * 3
            water[weight] = np.mean([r["clauses"][1]["score"] for r in records])
        assert water[2] > water[-2] + 0.1

    def test_nothing_but_what_is_not_wanted(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("search", "--less", "music")
        assert (answer.exit_code, answer.out) == (2, "")

    def test_split_at_commas(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("search", "dog barking, a woman speaks", "--split", "--json", "-k", "2")
        assert len(answer.records) == 2
        for record in answer.records:
            assert [clause["clause"] for clause in record["clauses"]] == [
                "dog barking",
                "a woman speaks",
            ]
            assert len({clause["score"] for clause in record["clauses"]}) == 2

    def test_one_of_each_folder(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("search", "bells", "--per-folder", "1", "-k", "99", "--paths")
        folders = [Path(path).parent for path in answer.out.splitlines()]
        assert sorted(folders) == sorted(path for path in SAMPLES.iterdir() if path.is_dir())

    def test_names_count_unless_they_are_told_not_to(self, alm2vec: CommandLine) -> None:
        search = ("search", "hillside", "--json", "-k", "3")
        by_name = alm2vec(*search).records
        by_sound = alm2vec(*search, "--words", "0").records
        assert by_name[0]["path"].endswith("hillside.flac")
        assert by_name[0]["words_score"] > 0
        assert not any("words_score" in record for record in by_sound)
        scores = [record["score"] for record in by_sound]
        assert scores == sorted(scores, reverse=True)

    def test_csv(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("search", "bells", "--format", "csv", "-k", "2")
        rows = list(csv.DictReader(io.StringIO(answer.out, newline="")))
        assert [row["rank"] for row in rows] == ["1", "2"]
        assert all(Path(row["path"]).is_file() for row in rows)
        assert all(row["verdict"] in {"strong", "likely", "weak"} for row in rows)

    def test_labels_of_one_file(self, alm2vec: CommandLine) -> None:
        field = SAMPLES / "field" / "ZOOM0021.opus"
        search = ("search", "rooster crowing", "--format", "audacity", "--all-chunks")
        answer = alm2vec(*search, "--under", field, "-k", "3")
        starts = [float(line.split("\t")[0]) for line in answer.out.splitlines()]
        assert len(starts) == 3
        assert starts == sorted(starts)
        assert 150 in starts

    def test_labels_of_several_files_are_refused(self, alm2vec: CommandLine) -> None:
        answer = alm2vec("search", "rooster crowing", "--format", "audacity")
        assert (answer.exit_code, answer.out) == (2, "")
        error, hint = answer.err.splitlines()[-2:]
        assert error == "error: audacity is about one file, and the hits lie in several"
        assert hint.startswith("hint: stay within one with --under FILE")

    @pytest.mark.parametrize("other", ["--json", "--paths", "-0"])
    def test_one_format_at_a_time(self, alm2vec: CommandLine, other: str) -> None:
        answer = alm2vec("search", "bells", "--format", "csv", other)
        assert (answer.exit_code, answer.out) == (2, "")
        assert answer.err.startswith("error: --format, --json, --paths and -0 exclude each other")

    def test_clips(self, alm2vec: CommandLine, tmp_path: Path) -> None:
        search = ("search", "rooster crowing", "--json", "-k", "2", "--cut", tmp_path / "clips")
        answer = alm2vec(*search)
        assert answer.exit_code == 0
        clips = sorted((tmp_path / "clips").iterdir())
        for clip, record in zip(clips, answer.records, strict=True):
            assert clip.name.startswith(f"{record['rank']:03d} {Path(record['path']).stem} ")
            info = soundfile.info(clip)
            duration_s = record["end_s"] - record["start_s"]
            assert info.duration == pytest.approx(duration_s, abs=0.002)
            assert info.samplerate == record["sampling_rate"]
        again = alm2vec(*search)
        assert again.exit_code == 2
        assert f"{clips[0]} is there already" in again.err


AUDIO_IN_SAMPLES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a"}


class TestIndex:
    def test_the_life_of_a_library(self, alm2vec: CommandLine, library: Path) -> None:
        dog = shutil.copy(SAMPLES / "animals" / "REC_0042.wav", library)
        (library / "notes.wav").write_text("not audio at all")
        answer = alm2vec("index", library)
        assert answer.exit_code == 1
        assert "files: 1 indexed, 1 skipped" in answer.err
        assert "notes.wav: not audio" in answer.err
        answer = alm2vec("index", library)
        assert answer.exit_code == 0
        assert "files: 1 unchanged, 1 skipped as before" in answer.err
        Path(dog).rename(library / "moved.wav")
        assert "1 moved or copied, 1 forgotten" in alm2vec("index", library).err
        assert alm2vec("search", "dog", "--paths").out == f"{library / 'moved.wav'}\n"
        assert alm2vec("remove", library / "moved.wav").exit_code == 0
        assert alm2vec("search", "dog").err == "nothing found\n"

    def test_a_report_for_machines(self, alm2vec: CommandLine, library: Path) -> None:
        write_tone(library / "x.wav", duration_s=25)
        answer = alm2vec("index", library, "--json", "--quiet", "--workers", "1")
        report = json.loads(answer.out)
        assert (report["indexed"], report["chunks"], report["audio_s"]) == (1, 3, 25.0)
        assert answer.err == ""

    def test_a_dry_run_writes_nothing(self, alm2vec: CommandLine, library: Path) -> None:
        write_tone(library / "x.wav", duration_s=25)
        (library / "y.wav").write_text("not audio at all")
        answer = alm2vec("index", library, "--dry-run")
        assert answer.exit_code == 0
        assert "to read: 2 files, 25.0 s, about 3 chunks" in answer.err
        assert "nothing was done" in answer.err
        assert not Path(os.environ["ALM2VEC_HOME"]).exists()
        plan = json.loads(alm2vec("index", library, "--dry-run", "--json").out)
        assert (plan["to_read"], plan["chunks"], len(plan["unreadable"])) == (2, 3, 1)

    def test_chunking_is_as_in_the_index_unless_it_is_rebuilt(
        self, alm2vec: CommandLine, library: Path
    ) -> None:
        write_tone(library / "x.wav", duration_s=20)
        assert alm2vec("index", library, "--window", "5", "--hop", "2.5").exit_code == 0
        assert alm2vec("index", library).exit_code == 0
        assert json.loads(alm2vec("status", "--json").out)["chunking"] == "5s/2.5s"
        assert alm2vec("index", library, "--window", "10").exit_code == 3
        assert alm2vec("index", library, "--window", "10", "--rebuild").exit_code == 0
        record = json.loads(alm2vec("status", "--json").out)
        assert (record["chunking"], record["chunks"]) == ("10s/10s", 2)

    def test_an_index_remembers_its_model(
        self,
        alm2vec: CommandLine,
        library: Path,
        other_model: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        write_tone(library / "x.wav")
        monkeypatch.chdir(other_model.parent)
        assert alm2vec("index", library, "--model", other_model.name).exit_code == 0
        monkeypatch.chdir(library)
        assert alm2vec("search", "a tone", "--paths").out == f"{library / 'x.wav'}\n"
        assert json.loads(alm2vec("status", "--json").out)["model"] == str(other_model)
        shutil.rmtree(other_model)
        answer = alm2vec("search", "a tone")
        assert (answer.exit_code, answer.out) == (3, "")
        assert f"no model is called {other_model}" in answer.err

    def test_excluded(self, alm2vec: CommandLine, library: Path) -> None:
        write_tone(library / "x.wav")
        write_tone(library / "drafts" / "y.wav", "high")
        alm2vec("index", library, "--exclude", "drafts/")
        assert json.loads(alm2vec("status", "--json").out)["files"] == 1

    @pytest.mark.parametrize(
        ("words", "code", "complaint"),
        [
            (["index", "{tmp}/missing"], 2, "missing: there is no such folder"),
            (["index", "{tmp}", "--window", "-1"], 2, "window_s: Input should be greater than 0"),
            (
                ["index", "{tmp}", "--hop", "20"],
                2,
                "hop_s must be more than 0 and at most window_s",
            ),
            (["index", "{tmp}", "--dtype", "int3"], 2, "dtype: Input should be 'auto'"),
            (["index", "{tmp}", "--exclude", "[a"], 2, "a bracket isn't closed"),
            (["search", "rain"], 3, "no index in "),
            (["status"], 3, "no index in "),
            (["remove", "{tmp}"], 3, "no index in "),
        ],
    )
    def test_wrong_input(
        self, alm2vec: CommandLine, tmp_path: Path, words: list[str], code: int, complaint: str
    ) -> None:
        answer = alm2vec(*(word.format(tmp=tmp_path) for word in words))
        assert answer.exit_code == code
        assert complaint in answer.err
        assert "\nhint: " in answer.err
        assert "Traceback" not in answer.err

    def test_what_was_never_indexed_cannot_be_removed(
        self, alm2vec: CommandLine, library: Path, tmp_path: Path
    ) -> None:
        write_tone(library / "x.wav")
        alm2vec("index", library)
        answer = alm2vec("remove", tmp_path / "elsewhere")
        assert answer.exit_code == 2
        assert "nothing is indexed there" in answer.err

    def test_a_settings_file(
        self, alm2vec: CommandLine, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_tone(library / "x.wav", duration_s=8)
        config = tmp_path / "mine.toml"
        config.write_text("window_s = 4.0\n")
        monkeypatch.setenv("ALM2VEC_CONFIG", str(config))
        plan = json.loads(alm2vec("index", library, "--dry-run", "--json").out)
        assert plan["chunks"] == 2
        config.write_text("windows = 4.0\n")
        answer = alm2vec("index", library, "--dry-run")
        assert answer.exit_code == 2
        assert "windows: Extra inputs are not permitted" in answer.err
        assert str(config) in answer.err


class TestEmbed:
    def test_vectors(self, alm2vec: CommandLine, tmp_path: Path) -> None:
        dog = SAMPLES / "animals" / "REC_0042.wav"
        inputs = [
            {"text": "a dog barks", "role": "query"},
            {"audio": str(dog)},
            {"audio": f"{dog}@0-2"},
            {"text": "a dog barks", "instruction": "loud", "role": "query"},
        ]
        file, output = tmp_path / "inputs.jsonl", tmp_path / "vectors.npy"
        file.write_text("\n".join(map(json.dumps, inputs)))
        assert alm2vec("embed", file, "-o", output).exit_code == 0
        vectors = np.load(output)
        assert (vectors.shape, vectors.dtype) == ((4, 384), np.float32)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert vectors[0] @ vectors[1] > 0.3
        assert np.abs(vectors[0] - vectors[3]).max() > 0.01

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ('{"role": "query"}', "inputs.jsonl:1: nothing to embed"),
            ('{"text": "a", "role": "song"}', "inputs.jsonl:1: role: Input should be 'query' or"),
            ('{"audio": "missing.wav"}', "missing.wav: no such file"),
            ("[1]", "inputs.jsonl:1: "),
            ("", "inputs.jsonl is empty"),
        ],
    )
    def test_wrong_input(
        self, alm2vec: CommandLine, tmp_path: Path, line: str, complaint: str
    ) -> None:
        (tmp_path / "inputs.jsonl").write_text(line)
        answer = alm2vec("embed", tmp_path / "inputs.jsonl", "-o", tmp_path / "out.npy")
        assert answer.exit_code == 2
        assert complaint in answer.err
        assert not (tmp_path / "out.npy").exists()


class TestProcesses:
    """What can only be seen from outside."""

    def test_help_says_defaults(self, alm2vec: CommandLine) -> None:
        assert "[default: 10]" in alm2vec("index", "--help").out

    def test_help_imports_nothing_heavy(self) -> None:
        code = (
            "import sys; sys.argv = ['alm2vec', '--help']\n"
            "from alm2vec_search.cli import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "heavy = {'torch', 'transformers', 'qdrant_edge', 'qdrant_client', 'fastapi'}\n"
            "heavy |= {'numpy', 'soundfile', 'av', 'soxr', 'pydantic'}\n"
            "print('imported:', sorted(heavy & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.endswith("imported: []\n")
        assert "Usage: alm2vec" in done.stdout
        for command in ("index", "search", "status", "remove", "embed"):
            assert command in done.stdout

    def test_an_unchanged_library_costs_no_torch(self, library: Path) -> None:
        write_tone(library / "x.wav")
        run = [*ALM2VEC, "index", str(library), "-q"]
        subprocess.run(run, check=True)
        code = (
            f"import sys; sys.argv = ['alm2vec', 'index', {str(library)!r}, '-q']\n"
            "from alm2vec_search.cli import main\n"
            "try: main()\n"
            "except SystemExit as done: print(done.code, 'torch' in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout == "0 False\n"

    def test_a_second_process_is_told_who_has_the_index(self, library: Path) -> None:
        for i in range(8):
            write_tone(library / f"{i}.wav", duration_s=5 + i)
        first = subprocess.Popen(
            [*ALM2VEC, "index", str(library)], stderr=subprocess.PIPE, text=True
        )
        with first:
            assert first.stderr is not None
            assert "small" in first.stderr.readline()  # the index is open from here on
            second = subprocess.run(
                [*ALM2VEC, "search", "rain"], capture_output=True, text=True, check=False
            )
            first.wait()
        assert second.returncode == 3
        assert f"is in use by alm2vec index {library} (process {first.pid})" in second.stderr

    def test_an_ill_model_is_warned_of_once_a_run(self, library: Path, tmp_path: Path) -> None:
        for place in range(20):
            write_tone(library / f"{place}.wav", "low", duration_s=1 + place)
        model = deaf(tmp_path / "deaf")
        index = [*ALM2VEC, "index", str(library), "--model", str(model), "--workers", "2"]

        for more in ([], ["--rebuild", "--aspect", "speaker=Who is speaking?"]):
            done = subprocess.run([*index, *more], capture_output=True, text=True, check=False)

            assert done.returncode == 0, done.stderr
            warned = [line for line in done.stderr.splitlines() if "is ill" in line]
            assert len(warned) == 1, done.stderr
            assert warned[0].startswith(f"{model} is ill: unlike sounds are all but the same to it")

    def test_ctrl_c_leaves_a_usable_index(self, library: Path, alm2vec: CommandLine) -> None:
        for i in range(200):
            write_tone(library / f"{i}.wav", duration_s=60, peak=0.2 + i / 1000)
        process = subprocess.Popen(
            [*ALM2VEC, "index", str(library)],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # not as inherited
        )
        with process:
            assert process.stderr is not None
            assert "small" in process.stderr.readline()
            time.sleep(6)
            process.send_signal(signal.SIGINT)
            said = process.stderr.read()
        assert process.returncode == 130
        assert said.splitlines()[-1] == "interrupted; what was done until here is kept"
        assert "Traceback" not in said
        assert alm2vec("search", "tone", "--json").exit_code == 0

    def test_a_reader_that_has_seen_enough(self, sample_store: Path) -> None:
        command = [
            *ALM2VEC,
            "search",
            "rooster",
            "--store",
            str(sample_store),
            "--all-chunks",
            "-k",
            "9",
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == 0
