"""Lists of notes and telling names: read, kept current, and never a reason to embed again."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
import soundfile
from index_driver import Index, write_tone

from alm2vec_search.collection.base import SearchFilter
from alm2vec_search.where import parse_where
from indexer.notes import read_list, with_notes

if TYPE_CHECKING:
    from pathlib import Path


def found(index: Index, where: str) -> list[str]:
    condition = parse_where(where)
    with index.open() as (collection, _):
        matches = collection.nearest(
            index.encoder.encoder.encode_query(text=["low"])[0],
            limit=100,
            where=SearchFilter(condition=condition, include_silent=True),
        )
    return sorted({place.path.name for match in matches for place in match.places})


class TestLists:
    def test_a_csv_beside_the_files(self, index: Index, library: Path) -> None:
        write_tone(library / "rain" / "roof.wav")
        write_tone(library / "dog.wav", "high")
        (library / "alm2vec-notes.csv").write_text(
            "path,tags,artist,Mic Type\nrain/roof.wav,wet; tin roof,Ana,MKH 40\ngone.wav,x,,\n"
        )
        report = index.run(library)
        assert report.is_clean
        assert found(index, "tag:wet") == ["roof.wav"]
        assert found(index, 'tag:"tin roof" artist:ana meta.mic_type:mkh*') == ["roof.wav"]
        assert found(index, "not tag:*") == ["dog.wav"]

    def test_a_list_that_changes_embeds_nothing(self, index: Index, library: Path) -> None:
        write_tone(library / "a.wav")
        write_tone(library / "b.wav", "high")
        index.run(library)
        n_sounds = index.encoder.n_sounds
        notes = library / "alm2vec-notes.json"
        notes.write_text(json.dumps({"a.wav": {"tags": ["wet", "night"], "take": 3}}))
        report = index.run(library)
        assert (report.retold, report.unchanged, report.changed) == (1, 1, 0)
        assert found(index, "tag:night meta.take:3") == ["a.wav"]
        notes.write_text(json.dumps([{"path": "b.wav", "tags": "dry"}]))
        assert index.run(library).retold == 2
        assert (found(index, "tag:night"), found(index, "tag:dry")) == ([], ["b.wav"])
        assert index.run(library).retold == 0
        assert index.encoder.n_sounds == n_sounds

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("name,tags\na.wav,x\n", "its first line has no column called path"),
            ("", "its first line has no column called path"),
            (b"path,tags\na.wav,\xff\n", "it isn't UTF-8"),
        ],
    )
    def test_a_list_that_cannot_be_used_is_told_and_loses_nothing(
        self, index: Index, library: Path, text: str | bytes, reason: str
    ) -> None:
        write_tone(library / "a.wav")
        notes = library / "alm2vec-notes.csv"
        notes.write_text("path,tags\na.wav,wet\n")
        index.run(library)
        notes.write_bytes(text if isinstance(text, bytes) else text.encode())
        report = index.run(library)
        assert report.lists == [(notes, reason)]
        assert not report.is_clean
        assert (report.unchanged, report.retold) == (1, 0)
        assert found(index, "tag:wet") == ["a.wav"]

    @pytest.mark.parametrize(
        ("document", "reason"),
        [
            ('{"a.wav": 3}', "a.wav: what is said of it is no object"),
            ("[3]", "an entry of its list has no path"),
            ("3", "it is neither an object nor a list of objects"),
        ],
    )
    def test_json_of_another_shape(self, tmp_path: Path, document: str, reason: str) -> None:
        (tmp_path / "x.json").write_text(document)
        with pytest.raises(ValueError, match=reason):
            read_list(tmp_path / "x.json")

    def test_what_spreadsheets_write(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_bytes(
            '\ufeffFile;Tags\r\n"a;b.wav";"wet; ""tin"""\r\n;nobody\r\n'.encode()
        )
        assert read_list(tmp_path / "x.csv") == [("a;b.wav", [("Tags", 'wet; "tin"')])]

    def test_lists_of_folders_add_up(self, index: Index, library: Path) -> None:
        write_tone(library / "rain" / "a.wav")
        (library / "alm2vec-notes.csv").write_text("path,tags\nrain/a.wav,upper\n")
        (library / "rain" / "alm2vec-notes.csv").write_text("path\ttags\na.wav\tlower\n")
        index.run(library)
        assert found(index, "tag:upper and tag:lower") == ["a.wav"]


class TestFilesThatSayMore:
    def test_tags_that_change_embed_nothing(self, index: Index, library: Path) -> None:
        path = write_tone(library / "a.wav")
        index.run(library)
        before, n_sounds = index.search("low")[0], index.encoder.n_sounds
        sound, rate = soundfile.read(path, dtype="int16")
        with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
            file.title, file.genre = "Roof", "Rain"
            file.write(sound)
        report = index.run(library)
        assert (report.retold, report.changed, report.indexed) == (1, 0, 0)
        assert index.encoder.n_sounds == n_sounds
        assert found(index, "title:roof tag:rain") == ["a.wav"]
        after = index.search("low")[0]
        assert (after.span, after.score) == (before.span, pytest.approx(before.score))
        with index.open() as (collection, _):
            assert len(list(collection.contents())) == 1
        assert index.run(library).unchanged == 1

    def test_a_sound_that_changes_is_embedded(self, index: Index, library: Path) -> None:
        write_tone(library / "a.wav", "low")
        index.run(library)
        write_tone(library / "a.wav", "high")
        report = index.run(library)
        assert (report.retold, report.changed) == (0, 1)
        assert index.encoder.n_sounds == 2

    def test_another_codec_of_the_same_samples(self, index: Index, library: Path) -> None:
        path = write_tone(library / "a.wav")
        index.run(library)
        flac = library / "a.flac"
        subprocess.run(["ffmpeg", "-v", "error", "-i", path, flac], check=True)
        flac.replace(path)  # a FLAC by the name of a WAV
        assert index.run(library).retold == 1

    def test_names_of_the_universal_category_system(self, index: Index, library: Path) -> None:
        write_tone(library / "DOGBark_Small Dog_Ana_Farm.wav")
        index.run(library)
        where = 'category:dogbark title:"small dog" creator:ana source:farm tag:dogbark'
        assert found(index, where) == ["DOGBark_Small Dog_Ana_Farm.wav"]

    def test_a_renamed_file_is_known_by_its_new_name(self, index: Index, library: Path) -> None:
        path = write_tone(library / "a.wav")
        index.run(library)
        path.rename(library / "DOGBark_Small Dog_Ana_Farm.wav")
        report = index.run(library)
        assert (report.recognised, index.encoder.n_sounds) == (1, 1)
        assert found(index, "category:dogbark") == ["DOGBark_Small Dog_Ana_Farm.wav"]

    def test_they_survive_a_lost_manifest(self, index: Index, library: Path) -> None:
        write_tone(library / "a.wav")
        (library / "alm2vec-notes.csv").write_text("path,tags\na.wav,wet\n")
        index.run(library)
        (index.folder / "manifest.sqlite").unlink()
        report = index.run(library)
        assert (report.unchanged, report.retold) == (1, 0)
        assert found(index, "tag:wet") == ["a.wav"]


def test_a_walk_passes_problems_on(library: Path) -> None:
    assert list(with_notes(lambda _: iter(()))(library)) == []
