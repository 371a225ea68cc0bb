"""Searches with a name: kept whole, asked again from anywhere, and what is new since."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from alm2vec_search.domain import Content, Hit, TimeSpan, Verdict
from alm2vec_search.errors import QueryError
from alm2vec_search.queries import Asked
from alm2vec_search.saved_searches import FILE, SavedSearches
from alm2vec_search.search_request import SearchRequest

if TYPE_CHECKING:
    from command_line import CommandLine

SAMPLES = Path(__file__).parents[2] / "samples"
REQUEST = SearchRequest(
    asked=Asked(text="rain", less=("2:music",), instruction="what falls?"),
    where="duration<10 and not tag:dry",
    min=Verdict.LIKELY,
    split=True,
    words=0.5,
    limit=3,
)


def hit(name: str, audio_hash: str = "") -> Hit:
    content = Content(f"bytes of {name}", 1, 1.0, 8000, 1, audio_hash=audio_hash)
    return Hit(Path("/a") / name, Path("/a"), TimeSpan(0, 1), 0.5, content=content)


class TestKept:
    def test_all_of_it_comes_back(self, tmp_path: Path) -> None:
        SavedSearches(tmp_path).save("wet", REQUEST)
        SavedSearches(tmp_path).save("plain", SearchRequest(asked=Asked(text="x")))
        saved = SavedSearches(tmp_path)
        assert saved.named("wet").request == REQUEST
        assert sorted(saved.searches) == ["plain", "wet"]

    def test_what_was_shown_is_not_new(self, tmp_path: Path) -> None:
        searches = SavedSearches(tmp_path)
        searches.save("wet", REQUEST)
        searches.named("wet").see([hit("a.wav"), hit("b.wav", "sound of b")])
        searches.write()
        again = SavedSearches(tmp_path).named("wet")
        assert not again.is_new(hit("a.wav"))
        assert not again.is_new(hit("tagged b.wav", "sound of b"))
        assert again.is_new(hit("c.wav"))

    def test_saving_again_starts_anew(self, tmp_path: Path) -> None:
        searches = SavedSearches(tmp_path)
        searches.save("wet", REQUEST)
        searches.named("wet").see([hit("a.wav")])
        searches.save("wet", REQUEST)
        assert searches.named("wet").is_new(hit("a.wav"))

    def test_forgotten(self, tmp_path: Path) -> None:
        searches = SavedSearches(tmp_path)
        searches.save("wet", REQUEST)
        searches.forget("wet")
        with pytest.raises(QueryError, match="no search is called wet"):
            SavedSearches(tmp_path).named("wet")
        with pytest.raises(QueryError, match="no search is called wet"):
            searches.forget("wet")

    @pytest.mark.parametrize("text", ["", "[]", '{"version": 1, "searches": {"x": {}}}', "\0"])
    def test_a_damaged_file_is_told_and_stays(self, tmp_path: Path, text: str) -> None:
        (tmp_path / FILE).write_text(text)
        with pytest.raises(QueryError, match="is damaged"):
            SavedSearches(tmp_path)
        assert (tmp_path / FILE).read_text() == text

    def test_where_nothing_can_be_written(self, tmp_path: Path) -> None:
        searches = SavedSearches(tmp_path / "nowhere")
        (tmp_path / "nowhere").touch()
        with pytest.raises(QueryError, match="can't be written: File exists"):
            searches.save("wet", REQUEST)


def test_paths_are_kept_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.wav").touch()
    monkeypatch.chdir(tmp_path)
    asked = Asked(like="a.wav@0.5-1.25", more=("2:a.wav", "2:thunder"), less=("rain: heavy",))
    request = SearchRequest(asked=asked, under="a.wav").from_anywhere()
    assert request.asked.like == f"{tmp_path}/a.wav@0.5-1.25"
    assert request.asked.more == (f"2:{tmp_path}/a.wav", "2:thunder")
    assert request.asked.less == ("rain: heavy",)
    assert request.under == str((tmp_path / "a.wav").resolve())


def test_the_whole_life_of_one(
    tmp_path: Path, alm2vec: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    monkeypatch.setenv("ALM2VEC_STORE", str(tmp_path / "index"))
    shutil.copy(SAMPLES / "animals/REC_0042.wav", library / "a.wav")
    assert alm2vec("index", library).exit_code == 0
    words = ("search", "dog barking", "--min", "likely", "--json", "--save", "dogs")
    saved = alm2vec(*words)
    assert [Path(r["path"]).name for r in saved.records] == ["a.wav"]
    assert "alm2vec saved run dogs" in saved.err
    assert alm2vec("saved", "list").out == "dogs\tdog barking\n"
    assert alm2vec("saved", "run", "dogs", "--new").err.splitlines()[-1] == "nothing new"

    shutil.copy(SAMPLES / "voices/VN-20240318-0002.m4a", library / "b.m4a")
    (library / "a.wav").rename(library / "moved.wav")
    assert alm2vec("index", library).exit_code == 0
    new = alm2vec("saved", "run", "dogs", "--new", "--json")
    assert [Path(r["path"]).name for r in new.records] == ["b.m4a"]
    both = alm2vec("saved", "run", "dogs", "--json")
    assert {Path(r["path"]).name for r in both.records} == {"moved.wav", "b.m4a"}
    listed = json.loads(alm2vec("saved", "list", "--json").out)
    assert (listed["name"], listed["seen"], listed["min"]) == ("dogs", 2, "likely")
    assert alm2vec("saved", "forget", "dogs").exit_code == 0
    assert alm2vec("saved", "run", "dogs").exit_code == 2
