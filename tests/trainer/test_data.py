"""Files of pairs: any group by its number, and errors that name the line."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from alm2vec_search.errors import PairError, TrainingError
from trainer.data import LocatedPair, PairDataset, PairFile, check, fingerprint, sounds_of
from trainer.mixture import Draw
from trainer.pairs import parse_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trainer.pairs import Pair

LOCAL = [HealthCheck.function_scoped_fixture]


def line(name: str, *, one_of: str | None = None, audio: str | None = None, **rest: Any) -> str:
    """A pair whose query is called by a name."""
    query = {"text": name} | ({"audio": audio} if audio else {})
    fields: dict[str, Any] = {"query": query, "document": {"text": "d"}, **rest}
    return json.dumps(fields | ({"one_of": one_of} if one_of else {}))


def write(path: Path, lines: Iterable[str], end: str = "\n") -> PairFile:
    path.write_bytes("".join(each + end for each in lines).encode())
    return PairFile(path)


def names(file: PairFile, epoch: int = 0) -> list[str | None]:
    return [file.pair(group, seed=1, epoch=epoch).query.text for group in range(len(file))]


def test_each_line_is_a_group(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", [line(name) for name in "abc"])
    assert len(file) == 3
    assert names(file) == ["a", "b", "c"]
    assert file.pair(2, seed=5).query.text == "c"  # in any order
    with pytest.raises(IndexError):
        file.pair(3, seed=5)


def test_alternatives_are_one_group(tmp_path: Path) -> None:
    lines = [line("a", one_of="1"), line("b", one_of="1"), line("c"), line("d", one_of="1")]
    file = write(tmp_path / "p.jsonl", [*lines, line("e", one_of="2"), line("f", one_of="2")])
    assert len(file) == 4  # d doesn't follow its alternatives
    assert [pair.query.text for pair, _ in file.pairs()] == list("abcdef")


@pytest.mark.parametrize("number", [2, 3, 5])
def test_alternatives_take_turns(tmp_path: Path, number: int) -> None:
    lines = [line(f"{group}-{i}", one_of=group) for group in "xy" for i in range(number)]
    file = write(tmp_path / "p.jsonl", lines)
    orders = set()
    for group in (0, 1):
        for cycle in range(20):
            order = [
                file.pair(group, 3, cycle * number + turn).query.text for turn in range(number)
            ]
            assert len(set(order)) == number  # all, before one comes again
            orders.add(tuple(text[2:] for text in order if text))
    assert len(orders) > 1  # not always in the same order
    shuffled = [[file.pair(0, seed, epoch).query.text for epoch in range(40)] for seed in (3, 4)]
    assert shuffled[0] != shuffled[1]


def test_what_speaks_of_one_of_is_no_alternative(tmp_path: Path) -> None:
    lines = [line('say "one_of"'), line('"one_of": "1"'), line("c", clip="one_of")]
    assert len(write(tmp_path / "p.jsonl", lines)) == 3


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", "\n  \n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n"])
def test_ends_of_lines_and_what_stands_before_them(tmp_path: Path, start: str, end: str) -> None:
    path = tmp_path / "p.jsonl"
    lines = [line("a"), line("b", one_of="1"), line("c", one_of="1"), line("d")]
    path.write_text(start + end.join(lines), encoding="utf-8", newline="")  # the last has no end
    file = PairFile(path)
    assert len(file) == 3
    assert [pair.query.text for pair, _ in file.pairs()] == list("abcd")
    numbers = [where.number for _, where in file.pairs()]
    text = path.read_bytes().split(b"\n")
    assert [
        parse_pair(text[n - 1].lstrip(b"\xef\xbb\xbf"), path, n).query.text for n in numbers
    ] == [*"abcd"]


@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    name=st.text(min_size=1).filter(lambda text: bool(text.strip())),
)
@settings(suppress_health_check=LOCAL, deadline=None, max_examples=40)
def test_any_file_is_read_as_it_was_written(tmp_path: Path, lengths: list[int], name: str) -> None:
    groups = [[f"{name}{group} {i}" for i in range(length)] for group, length in enumerate(lengths)]
    lines = [
        json.dumps(
            json.loads(line(text, one_of=name + str(group) if len(texts) > 1 else None)),
            ensure_ascii=group % 2 == 0,
        )
        for group, texts in enumerate(groups)
        for text in texts
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace", newline="")
    file = PairFile(path)
    assert len(file) == len(groups)
    for group, texts in enumerate(groups):
        read = {file.pair(group, 0, epoch).query.text for epoch in range(len(texts))}
        assert len(read) == len(texts)


def test_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    file = write(
        tmp_path / "sub" / "p.jsonl", [line("a", audio="x/1.wav", negatives=[{"audio": "2"}])]
    )
    found = [sound.path for sound in sounds_of(file.pair(0, 0))]
    assert found == [tmp_path / "sub" / "x/1.wav", tmp_path / "sub" / "2"]


@pytest.mark.parametrize("wrong", ["nonsense", "{}", '{"one_of": 7}', "[" * 3000, "\x00"])
def test_an_invalid_line_is_named(tmp_path: Path, wrong: str) -> None:
    lines = [line("a", one_of="1"), "", line("b", one_of="1"), f" {wrong}", line("c")]
    file = write(tmp_path / "p.jsonl", lines)
    assert file.pair(2, 0).query.text == "c"
    for read in (lambda: file.pair(1, 0), lambda: list(file.pairs()), lambda: check(file)):
        with pytest.raises(PairError) as caught:
            read()
        assert (caught.value.file, caught.value.line) == (file.path, 4)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(b"\xff\xfe\n" + line("b").encode())
    with pytest.raises(PairError, match=r"p\.jsonl:1: "):
        check(PairFile(tmp_path / "p.jsonl"))


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.jsonl").write_bytes(content)
    with pytest.raises(TrainingError, match=r"p\.jsonl: there are no pairs in it"):
        PairFile(tmp_path / "p.jsonl")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such file"):
        PairFile(tmp_path / "p.jsonl")
    with pytest.raises(TrainingError, match="directory"):
        PairFile(tmp_path)


def test_a_file_that_shrank(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", [line(name) for name in "abc"])
    os.truncate(file.path, 50)
    with pytest.raises(TrainingError, match="was changed while it was in use") as caught:
        file.pair(2, 0)
    assert caught.value.hint


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", [line("x" * 100_000) for _ in range(9)])
    walk = file.pairs()
    next(walk)
    os.truncate(file.path, 400_000)
    with pytest.raises(TrainingError, match="was changed while it was in use"):
        list(walk)


def test_a_file_that_was_written_anew(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", [line("a"), line("b")])
    os.utime(file.path, ns=(1, 1))
    with pytest.raises(TrainingError, match="was changed"):
        file.pair(0, 0)


def test_the_pass_keeps_8_bytes_a_group(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", [line("some words" * 20) for _ in range(5000)])
    assert file.path.stat().st_size > 1_000_000
    assert len(pickle.dumps(file)) < 8 * 5001 + 1000
    assert list(tmp_path.iterdir()) == [file.path]  # nothing beside it


def draws(epochs: int, sizes: list[int]) -> list[Draw]:
    return [
        Draw(source, epoch, group)
        for epoch in range(epochs)
        for source, size in enumerate(sizes)
        for group in range(size)
    ]


@pytest.fixture
def dataset(tmp_path: Path) -> PairDataset:
    first = write(tmp_path / "1.jsonl", [line(f"1-{i}", one_of="x") for i in range(6)])
    second = write(tmp_path / "2.jsonl", [line(f"2-{i}", one_of=str(i // 3)) for i in range(6)])
    return PairDataset([first, second], seed=9)


def test_a_dataset_gives_what_was_drawn(dataset: PairDataset) -> None:
    assert len(dataset) == 3
    located = dataset[Draw(source=1, epoch=4, group=1)]
    assert located.draw == Draw(1, 4, 1)
    assert located.line.file == dataset.files[1].path
    written = located.line.file.read_bytes().splitlines()[located.line.number - 1]
    assert parse_pair(written, Path(), 0).query == located.pair.query
    assert located == dataset[Draw(1, 4, 1)]


def test_sources_are_shuffled_each_by_its_own_seed(tmp_path: Path) -> None:
    lines = [line(str(i), one_of="x") for i in range(8)]
    files = [write(tmp_path / f"{i}.jsonl", lines) for i in range(2)]
    read = PairDataset(files, seed=9)
    orders = [[read[Draw(source, e, 0)].pair.query.text for e in range(8)] for source in (0, 1)]
    assert orders[0] != orders[1]


def test_workers_read_the_same(dataset: PairDataset) -> None:
    wanted = draws(4, [1, 2])
    batches = [wanted[start : start + 3] for start in range(0, len(wanted), 3)]
    loader: Iterable[list[LocatedPair]] = DataLoader(
        dataset,  # type: ignore[arg-type]  # it needn't be torch's own class
        batch_sampler=batches,
        collate_fn=list,
        num_workers=2,
    )
    assert [located for batch in loader for located in batch] == [dataset[draw] for draw in wanted]


def sound(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, np.zeros(160, np.float32), 16_000)
    return path


@pytest.fixture
def with_audio(tmp_path: Path) -> PairFile:
    sound(tmp_path / "clips/a.wav")
    sound(tmp_path / "clips/b.flac")
    (tmp_path / "clips/folder").mkdir()
    lines = [
        line("0", audio="clips/a.wav", one_of="x"),
        line("1", audio="clips/gone.wav", one_of="x"),
        line("2", audio="clips/gone.wav"),
        line("3", negatives=[{"audio": "clips/folder"}]),
        line("4", document={"audio": {"path": "clips/b.flac", "start_s": 0, "end_s": 1}}),
        line("5", document={"audio": {"path": "clips/b.flac"}}),
        line("6"),
        line("7", audio="clips/also gone.wav", negatives=[{"audio": "clips/zero\0.wav"}]),
    ]
    return write(tmp_path / "p.jsonl", lines)


def test_missing_audio_is_an_error(with_audio: PairFile) -> None:
    with pytest.raises(TrainingError) as caught:
        check(with_audio)
    folder = with_audio.path.parent / "clips"
    named = f"{folder}/gone.wav, {folder}/folder, {folder}/also gone.wav and 1 more"
    assert str(caught.value) == f"{with_audio.path}: 4 of 6 audio files aren't there: {named}"
    assert caught.value.hint
    assert "skip" in caught.value.hint


def test_or_its_pairs_are_left_out(with_audio: PairFile) -> None:
    checked = check(with_audio, missing="skip")
    assert (checked.pairs, checked.left_out) == (8, 4)
    assert (checked.sounds, checked.audio_files, checked.missing) == (7, 6, 4)
    assert checked.first_missing[0].name == "gone.wav"
    assert len(checked.first_missing) == 3
    file = checked.file
    assert len(file) == 4  # of the first group, an alternative is left
    for epoch in range(3):
        assert names(file, epoch) == ["0", "4", "5", "6"]
    assert [pair.query.text for pair, _ in file.pairs()] == ["0", "4", "5", "6"]
    assert [where.number for _, where in file.pairs()] == [1, 5, 6, 7]
    assert names(pickle.loads(pickle.dumps(file))) == ["0", "4", "5", "6"]
    assert len(with_audio) == 7  # what was given stays as it was
    again = check(file)
    assert (again.pairs, again.missing, again.left_out) == (4, 0, 0)
    assert again.file is file


def test_nothing_is_missing_where_all_is_there(tmp_path: Path) -> None:
    sound(tmp_path / "clips/a.wav")
    file = write(tmp_path / "p.jsonl", [line("0", audio="clips/a.wav"), line("1")])
    checked = check(file)
    assert (checked.file, checked.pairs, checked.sounds, checked.missing) == (file, 2, 1, 0)


def test_a_file_none_of_which_can_be_used(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", [line("0", audio="gone.wav")])
    with pytest.raises(TrainingError, match="no pair of it can be used"):
        check(file, missing="skip")


def test_pairs_are_left_out_again_and_again(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", [line(str(i), one_of=str(i // 4)) for i in range(24)])

    def without(*left_out: int) -> Callable[[Pair], bool]:
        return lambda pair: int(pair.query.text or 0) not in left_out

    rest = file.where(without(*range(8), 9)).where(without(10, 11)).where(without(23))
    kept = [8, *range(12, 23)]
    assert [pair.query.text for pair, _ in rest.pairs()] == [str(i) for i in kept]
    assert len(rest) == 4
    assert {rest.pair(3, 0, epoch).query.text for epoch in range(3)} == {"20", "21", "22"}


def test_the_fingerprint_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [line("a")]).path
    assert fingerprint(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(TrainingError, match="no such file"):
        fingerprint(tmp_path / "none")
