"""The lines that training learns from: what they say, and what they can't say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alm2vec_search.domain import TimeSpan
from alm2vec_search.errors import PairError
from trainer.pairs import AudioRef, Pair, Side, parse_pair, write_pairs

FULL = {
    "query": {"text": "what bird is this?", "audio": "clips/7.wav", "instruction": "answer"},
    "document": {"text": "a blackbird"},
    "negatives": [{"text": "a robin"}, {"audio": {"path": "f.safetensors", "frames": "9"}}],
    "source": "audioqa",
    "clip": "7",
    "one_of": "7",
}
TEXTS = st.text(min_size=1).filter(lambda text: bool(text.strip()))
PATHS = st.text(st.characters(categories=("L", "N")), min_size=1).map(Path)
SECONDS = st.floats(0, 1000)
AUDIO = (
    st.builds(AudioRef, path=PATHS)
    | st.builds(AudioRef, path=PATHS, frames=st.text(min_size=1))
    | st.builds(AudioRef, path=PATHS, start_s=SECONDS, end_s=st.floats(1001, 2000))
    | st.builds(AudioRef, path=PATHS, start_s=SECONDS)
)
SIDES = st.builds(Side, text=TEXTS, audio=st.none() | AUDIO, instruction=st.none() | st.text())
PAIRS = st.builds(
    Pair,
    query=SIDES,
    document=SIDES,
    negatives=st.lists(SIDES, max_size=2).map(tuple),
    source=st.none() | st.text(),
    clip=st.none() | st.text(),
    one_of=st.none() | st.text(),
)


def read(**changes: object) -> Pair:
    return parse_pair(json.dumps(FULL | changes), Path("p.jsonl"), 1)


def test_all_that_a_line_can_say() -> None:
    pair = read()
    assert pair.query.text == "what bird is this?"
    assert pair.query.audio == AudioRef(path=Path("clips/7.wav"))
    assert pair.document == Side(text="a blackbird")
    assert pair.negatives[1].audio == AudioRef(path=Path("f.safetensors"), frames="9")
    assert json.loads(pair.to_json()) == FULL


@given(PAIRS)
def test_what_is_written_is_read(pair: Pair) -> None:
    line = pair.to_json()
    assert "\n" not in line
    assert parse_pair(line.encode(), Path("p.jsonl"), 1) == pair


@pytest.mark.parametrize(
    ("start_s", "end_s", "span"),
    [
        (None, None, None),
        (2, 5, TimeSpan(2, 5)),
        (None, 5, TimeSpan(0, 5)),
        (2, None, TimeSpan(2, float("inf"))),
    ],
)
def test_a_stretch(start_s: float | None, end_s: float | None, span: TimeSpan | None) -> None:
    assert AudioRef(path=Path("a.wav"), start_s=start_s, end_s=end_s).span == span


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("nonsense", "JSON"),
        ("[1, 2]", "object"),
        ("{}", "query: Field required"),
        ('{"query": {"text": "a"}, "document": {}}', "document: neither text nor audio"),
        ('{"query": {"text": " "}, "document": {"text": "b"}}', "query.text: the text is blank"),
        ('{"query": {"text": "a"}, "document": {"text": "b"}, "sauce": "x"}', "sauce: Extra"),
    ],
)
def test_what_is_no_pair_is_named_by_its_line(line: str, complaint: str) -> None:
    with pytest.raises(PairError, match=complaint) as caught:
        parse_pair(line, Path("p.jsonl"), 7)
    assert str(caught.value).startswith("p.jsonl:7: ")
    assert (caught.value.file, caught.value.line) == (Path("p.jsonl"), 7)


@pytest.mark.parametrize(
    ("audio", "complaint"),
    [
        ('{"path": "a.wav", "start_s": 5, "end_s": 5}', "ends at 5.0 s, and starts at 5.0"),
        ('{"path": "a.wav", "end_s": 0}', "ends at 0.0 s"),
        ('{"path": "a.wav", "start_s": -1}', "greater than or equal to 0"),
        ('{"path": "a.wav", "start_s": NaN}', "start_s"),
        ('{"path": "a.wav", "start_s": 1e999}', "finite"),
        ('{"path": "a.wav", "end_s": NaN}', "end_s"),
        ('{"path": "a", "frames": "x", "start_s": 1}', "frames are whole"),
        ("7", "query.audio"),
    ],
)
def test_audio_that_is_nowhere(audio: str, complaint: str) -> None:
    line = f'{{"query": {{"audio": {audio}}}, "document": {{"text": "b"}}}}'
    with pytest.raises(PairError, match=complaint):
        parse_pair(line, Path("p.jsonl"), 1)


def test_paths_are_taken_from_a_folder(tmp_path: Path) -> None:
    located = read(document={"audio": str(tmp_path / "b.wav")}).located(Path("/data"))
    assert located.query.audio == AudioRef(path=Path("/data/clips/7.wav"))
    assert located.document.audio == AudioRef(path=tmp_path / "b.wav")
    assert located.negatives[1].audio == AudioRef(path=Path("/data/f.safetensors"), frames="9")


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "pairs.jsonl"
    assert write_pairs([read(), read(clip="8")], path) == 2
    assert [json.loads(line)["clip"] for line in path.read_text().splitlines()] == ["7", "8"]


def test_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    write_pairs([read()], path)
    before = path.read_bytes()

    def failing() -> object:
        yield read(clip="9")
        raise KeyError

    with pytest.raises(KeyError):
        write_pairs(failing(), path)  # type: ignore[arg-type]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
