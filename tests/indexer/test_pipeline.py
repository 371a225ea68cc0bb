"""Index runs on real files and the real store: what changes, what stays, what is never lost."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from index_driver import SAMPLING_RATE, Index, write_tone

from alm2vec_search.domain import TimeSpan
from indexer.walker import WalkProblem

if TYPE_CHECKING:
    from pathlib import Path


class TestFirstRun:
    def test_what_was_indexed_is_found(self, index: Index, library: Path) -> None:
        write_tone(library / "bass.wav", "low")
        write_tone(library / "birds" / "whistle.wav", "high")
        report = index.run(library)
        assert (report.indexed, report.skipped, report.is_clean) == (2, [], True)
        assert [hit.path.name for hit in index.search("high")] == ["whistle.wav", "bass.wav"]
        assert index.search("low")[0].path == library.resolve() / "bass.wav"

    def test_hits_say_where_in_the_file(self, index: Index, library: Path) -> None:
        sounds = [np.zeros(2 * SAMPLING_RATE, np.float32)] * 3
        sounds[1] = soundfile.read(write_tone(library / "x.wav", "high", 2.0), dtype="float32")[0]
        sounds[0], sounds[2] = (
            0.1 * np.random.default_rng(i).random(len(sounds[0])) for i in (1, 2)
        )
        soundfile.write(library / "x.wav", np.concatenate(sounds), SAMPLING_RATE)
        index.run(library)
        assert index.search("high")[0].span == TimeSpan(2.0, 4.0)
        assert len(index.search("high")) == 1
        assert len(index.search("high", all_chunks=True)) == 3

    def test_a_file_without_sound_is_reported_and_the_others_go_on(
        self, index: Index, library: Path
    ) -> None:
        write_tone(library / "good.wav")
        (library / "text.wav").write_text("not audio at all")
        (library / "empty.flac").touch()
        report = index.run(library)
        assert dict(report.skipped) == {
            library / "text.wav": "not audio",
            library / "empty.flac": "the file is empty",
        }
        assert not report.is_clean
        assert index.names() == ["good.wav"]

    def test_a_truncated_file_keeps_what_can_be_read(self, index: Index, library: Path) -> None:
        path = write_tone(library / "cut.wav", "high", 8.0)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        report = index.run(library)
        assert report.indexed == 1
        ((damaged, note),) = report.damaged
        assert damaged == path
        assert note == "4.0 of 8.0 s could be read"
        assert index.names("high") == ["cut.wav"]

    def test_silence_is_marked_and_found_only_when_asked_for(
        self, index: Index, library: Path
    ) -> None:
        write_tone(library / "quiet.wav", peak=0.0009)
        write_tone(library / "loud.wav")
        assert index.run(library).silent_chunks == 1
        assert [hit.path.name for hit in index.search("low")] == ["loud.wav"]
        silent = [hit for hit in index.search("low", include_silent=True) if hit.silent]
        assert [hit.path.name for hit in silent] == ["quiet.wav"]

    @pytest.mark.parametrize("name", ["a b.wav", "line\nbreak.wav", "UPPER.WAV", "ümlaut 音.wav"])
    def test_names(self, index: Index, library: Path, name: str) -> None:
        write_tone(library / name)
        index.run(library)
        assert index.names() == [name]
        assert index.run(library).unchanged == 1

    def test_a_name_that_is_no_text(self, index: Index, library: Path) -> None:
        name = os.fsdecode(b"caf\xe9.wav")
        write_tone(library / "x.wav").rename(library / name)
        index.run(library)
        assert index.names() == [name]
        assert index.search("low", under=library.resolve() / name)[0].path.exists()
        assert index.run(library).unchanged == 1


class TestRunAgain:
    def test_unchanged_files_are_not_read(self, index: Index, library: Path) -> None:
        for i in range(5):
            write_tone(library / f"{i}.wav", duration_s=1 + i)
        index.run(library)
        before = index.dump()
        index.encoder.n_sounds = 0
        report = index.run(library)
        assert (report.unchanged, report.indexed, index.encoder.n_sounds) == (5, 0, 0)
        assert index.dump() == before

    def test_a_changed_file_is_embedded_again_and_its_old_chunks_go(
        self, index: Index, library: Path
    ) -> None:
        write_tone(library / "x.wav", "low", 9.0)
        index.run(library)
        write_tone(library / "x.wav", "high", 3.0)
        report = index.run(library)
        assert (report.changed, report.indexed) == (1, 0)
        assert {hit.span.end_s for hit in index.search("low", all_chunks=True)} == {2.0}
        assert index.search("high")[0].score > 0.9

    @pytest.mark.parametrize("target", ["renamed.wav", "deep/down/x.wav"])
    def test_a_moved_file_keeps_its_vectors(self, index: Index, library: Path, target: str) -> None:
        source = write_tone(library / "x.wav")
        index.run(library)
        index.encoder.n_sounds = 0
        (library / target).parent.mkdir(parents=True, exist_ok=True)
        source.rename(library / target)
        report = index.run(library)
        assert (report.recognised, report.removed, index.encoder.n_sounds) == (1, 1, 0)
        assert [hit.path for hit in index.search("low")] == [library.resolve() / target]

    def test_a_library_that_moved_keeps_its_vectors(
        self, index: Index, library: Path, tmp_path: Path
    ) -> None:
        for i in range(3):
            write_tone(library / f"{i}.wav", duration_s=1 + i)
        index.run(library)
        index.encoder.n_sounds = 0
        shutil.move(library, tmp_path / "elsewhere")
        report = index.run(tmp_path / "elsewhere")
        assert (report.recognised, index.encoder.n_sounds) == (3, 0)
        assert len(index.search("low", under=(tmp_path / "elsewhere").resolve())) == 3

    def test_a_copy_is_a_second_place(self, index: Index, library: Path) -> None:
        write_tone(library / "x.wav")
        index.run(library)
        index.encoder.n_sounds = 0
        shutil.copy(library / "x.wav", library / "y.wav")
        report = index.run(library)
        assert (report.recognised, index.encoder.n_sounds) == (1, 0)
        (hit,) = index.search("low")
        assert (hit.path.name, [copy.name for copy in hit.copies]) == ("x.wav", ["y.wav"])
        (library / "x.wav").unlink()
        index.run(library)
        (hit,) = index.search("low")
        assert (hit.path.name, hit.copies) == ("y.wav", ())

    def test_twins_are_embedded_once(self, index: Index, library: Path) -> None:
        write_tone(library / "x.wav", duration_s=2.0)
        for name in ("y.wav", "z.wav"):
            shutil.copy(library / "x.wav", library / name)
        report = index.run(library)
        assert (report.indexed, report.recognised, index.encoder.n_sounds) == (1, 2, 1)
        assert len(index.search("low")[0].copies) == 2

    def test_twins_of_what_cannot_be_read(self, index: Index, library: Path) -> None:
        for name in ("x.wav", "y.wav"):
            (library / name).write_text("not audio at all")
        assert len(index.run(library).skipped) == 2

    def test_a_touched_file_is_recognised(self, index: Index, library: Path) -> None:
        path = write_tone(library / "x.wav")
        index.run(library)
        index.encoder.n_sounds = 0
        os.utime(path, ns=(1, 1))
        assert index.run(library).recognised == 1
        assert index.run(library).unchanged == 1
        assert index.encoder.n_sounds == 0

    def test_a_file_under_a_link_is_a_copy(self, index: Index, library: Path) -> None:
        write_tone(library / "real" / "x.wav")
        (library / "link").symlink_to(library / "real")
        report = index.run(library)
        assert (report.indexed, report.recognised) == (1, 1)

    def test_overlapping_roots_count_once(self, index: Index, library: Path) -> None:
        write_tone(library / "a" / "x.wav")
        write_tone(library / "a" / "y.wav", "high")
        assert index.run(library, library / "a").indexed == 2
        (library / "a" / "x.wav").unlink()
        assert index.run(library, library / "a").removed == 1
        assert index.names() == ["y.wav"]


class TestNothingIsLost:
    def test_deleted_files_are_forgotten(self, index: Index, library: Path) -> None:
        write_tone(library / "x.wav")
        write_tone(library / "y.wav", "high")
        index.run(library)
        (library / "x.wav").unlink()
        assert index.run(library).removed == 1
        assert index.names() == ["y.wav"]

    def test_another_library_is_left_alone(
        self, index: Index, library: Path, tmp_path: Path
    ) -> None:
        write_tone(library / "x.wav")
        write_tone(tmp_path / "library-2" / "y.wav", "high")
        index.run(library, tmp_path / "library-2")
        assert index.run(tmp_path / "library-2").removed == 0
        assert index.names() == ["x.wav", "y.wav"]

    def test_a_library_that_is_empty_all_of_a_sudden_is_kept(
        self, index: Index, library: Path
    ) -> None:
        path = write_tone(library / "x.wav")
        index.run(library)
        path.unlink()
        report = index.run(library)
        assert (report.kept, report.removed, report.is_clean) == ([library.resolve()], 0, False)
        assert index.names() == ["x.wav"]

    def test_what_cannot_be_walked_is_kept(
        self, index: Index, library: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_tone(library / "a" / "x.wav")
        write_tone(library / "b" / "y.wav", "high")
        index.run(library)
        scandir = os.scandir

        def fails(path: str) -> object:
            if str(path).endswith("/a"):
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", fails)
        report = index.run(library)
        assert report.not_walked == [(library.resolve() / "a", "permission denied")]
        assert report.removed == 0
        assert index.names() == ["x.wav", "y.wav"]
        assert WalkProblem(library / "a", "").covers(library / "a" / "x.wav")

    def test_a_file_that_breaks_keeps_its_old_chunks(self, index: Index, library: Path) -> None:
        path = write_tone(library / "x.wav")
        index.run(library)
        path.write_text("overwritten by accident")
        report = index.run(library)
        assert report.skipped == [(path.resolve(), "not audio")]
        assert index.names() == ["x.wav"]
        report = index.run(library)
        assert (report.skipped, report.still_skipped, report.is_clean) == ([], 1, True)
        assert index.names() == ["x.wav"]
        write_tone(path, "high")
        assert index.run(library).changed == 1
        assert index.search("high")[0].score > 0.9

    def test_a_file_that_may_not_be_read_is_tried_again_quietly(
        self, index: Index, library: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_tone(library / "x.wav")
        index.run(library)
        write_tone(path, "high")
        open_file = os.open

        def refuses(name: object, *options: int) -> int:
            if str(name).endswith("x.wav"):
                raise PermissionError(13, "Permission denied")
            return open_file(name, *options)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "open", refuses)
        report = index.run(library)
        assert report.skipped == [(path.resolve(), "permission denied")]
        assert index.names() == ["x.wav"]
        report = index.run(library)
        assert (report.skipped, report.still_skipped, report.is_clean) == ([], 1, True)
        monkeypatch.undo()
        assert index.run(library).changed == 1

    def test_what_was_skipped_is_tried_again_on_request(self, index: Index, library: Path) -> None:
        (library / "x.wav").write_text("not audio at all")
        index.run(library)
        report = index.run(library, retry_skipped=True)
        assert (report.skipped, report.still_skipped) == ([], 1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("indexer.embedding.open_audio", lambda *_: pytest.fail("it was read"))
            assert index.run(library).still_skipped == 1
            with pytest.raises(pytest.fail.Exception):
                index.run(library, retry_skipped=True)

    def test_edit_a_file_make_the_encoder_fail_and_it_is_still_found(
        self, index: Index, library: Path
    ) -> None:
        write_tone(library / "x.wav", "low")
        write_tone(library / "y.wav", "middle")
        index.run(library)
        before = index.dump()
        write_tone(library / "x.wav", "high")
        index.encoder.is_broken = True
        with pytest.raises(RuntimeError, match="the model is broken"):
            index.run(library)
        index.encoder.is_broken = False
        assert index.dump() == before
        assert index.names() == ["x.wav", "y.wav"]
        assert index.run(library).changed == 1
        assert index.search("high")[0].path.name == "x.wav"

    def test_vectors_that_are_no_numbers_never_get_in(self, index: Index, library: Path) -> None:
        write_tone(library / "x.wav")
        index.encoder.makes_nan = True
        with pytest.raises(FloatingPointError, match="not numbers"):
            index.run(library)
        with index.open() as (collection, _):
            assert collection.count() == 0

    def test_a_file_that_changes_while_it_is_read_waits_for_the_next_run(
        self, index: Index, library: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_tone(library / "x.wav")
        encode = index.encoder.encoder.encode_document
        write_tone(library / "long.wav", "high", 2 * 70)

        def grows(**inputs: object) -> object:
            with path.open("ab") as file:
                file.write(b"more")
            return encode(**inputs)  # type: ignore[arg-type]

        monkeypatch.setattr(
            type(index.encoder.encoder), "encode_document", lambda _, **i: grows(**i)
        )
        report = index.run(library)
        assert dict(report.skipped) == {path.resolve(): "it was written to while it was read"}
        monkeypatch.undo()
        assert index.run(library).indexed == 1
        assert index.names("high") == ["long.wav", "x.wav"]

    def test_a_file_that_vanishes_after_the_walk(
        self, index: Index, library: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_tone(library / "x.wav")
        write_tone(library / "y.wav", "high")
        embed = index.embed

        def vanishing(units: object) -> object:
            path.unlink(missing_ok=True)
            return embed(units)  # type: ignore[arg-type]

        monkeypatch.setattr(index, "embed", vanishing)
        assert dict(index.run(library).skipped) == {path.resolve(): "no such file"}
        assert index.names() == ["y.wav"]


class TestAfterAKill:
    """What a killed process may leave behind, made by hand; the kill itself: test_kill.py."""

    def test_a_lost_manifest_is_rebuilt_without_embedding(
        self, index: Index, library: Path
    ) -> None:
        write_tone(library / "x.wav")
        shutil.copy(library / "x.wav", library / "y.wav")
        index.run(library)
        before = index.dump()
        (index.folder / "manifest.sqlite").unlink()
        index.encoder.n_sounds = 0
        assert index.run(library).unchanged == 2
        assert index.encoder.n_sounds == 0
        assert index.dump()["chunks"] == before["chunks"]

    def test_a_damaged_manifest_is_rebuilt(self, index: Index, library: Path) -> None:
        write_tone(library / "x.wav")
        index.run(library)
        (index.folder / "manifest.sqlite").write_bytes(b"garbage" * 1000)
        assert index.run(library).unchanged == 1

    def test_between_new_chunks_in_and_old_chunks_out(self, index: Index, library: Path) -> None:
        path = write_tone(library / "x.wav", "low")
        index.run(library)
        write_tone(path, "high")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "indexer.pipeline.IndexPipeline._leave_old_content",
                lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
            )
            with pytest.raises(KeyboardInterrupt):
                index.run(library)
        assert len(index.search("low")) == 2  # both contents say that they lie at this path
        index.run(library)
        assert [hit.path.name for hit in index.search("high")] == ["x.wav"]

    def test_what_went_in_unnoticed_goes_if_its_file_does(
        self, index: Index, library: Path
    ) -> None:
        write_tone(library / "stays.wav", "high")
        index.run(library)
        path = write_tone(library / "x.wav", "low")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "indexer.manifest.Manifest.record",
                lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt),
            )
            with pytest.raises(KeyboardInterrupt):
                index.run(library)
        path.unlink()
        index.run(library)
        assert index.names() == ["stays.wav"]


class TestForgetting:
    def test_a_folder(self, index: Index, library: Path) -> None:
        write_tone(library / "a" / "x.wav")
        write_tone(library / "ab" / "y.wav", "high")
        shutil.copy(library / "a" / "x.wav", library / "copy.wav")
        index.run(library)
        assert index.remove(library.resolve() / "a") == 1
        assert index.names() == ["copy.wav", "y.wav"]
        assert index.remove(library.resolve()) == 2
        assert index.names() == []

    def test_it_comes_back_with_the_next_run(self, index: Index, library: Path) -> None:
        write_tone(library / "x.wav")
        index.run(library)
        index.remove(library.resolve() / "x.wav")
        assert index.run(library).indexed == 1

    def test_what_is_excluded_from_now_on_goes(self, index: Index, library: Path) -> None:
        write_tone(library / "x.wav")
        write_tone(library / "drafts" / "y.wav", "high")
        index.run(library)
        (library / ".alm2vecignore").write_text("drafts/\n")
        assert index.run(library).removed == 1
        assert index.names() == ["x.wav"]
