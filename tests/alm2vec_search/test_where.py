"""The grammar of conditions: what is read, what is refused and where, and never a traceback."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alm2vec_search.conditions import (
    And,
    Interval,
    Manner,
    NamedField,
    Not,
    NumberField,
    Or,
    Says,
    Within,
    WordField,
    holds,
)
from alm2vec_search.domain import Content, Notes, Place, TimeSpan
from alm2vec_search.errors import WhereError
from alm2vec_search.where import MOST_PARENTHESES, parse_where

RAIN = Says(WordField.TAG, Manner.PATTERN, "rain")
SHORT = Within(NumberField.DURATION, Interval(below=10))
STEREO = Within(NumberField.CHANNELS, Interval(least=2, most=2))


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("tag:rain", RAIN),
        ("TAG : Rain", RAIN),
        ('tag:"rain"', RAIN),
        ("duration<10", SHORT),
        ("duration < 10s", SHORT),
        ("duration<0.01e", None),
        ("tag:rain duration<10", And((RAIN, SHORT))),
        ("tag:rain and duration<10 and channels=2", And((RAIN, SHORT, STEREO))),
        ("tag:rain AND (duration<10 and channels=2)", And((RAIN, SHORT, STEREO))),
        ("tag:rain or duration<10 channels=2", Or((RAIN, And((SHORT, STEREO))))),
        ("(tag:rain or duration<10) channels=2", And((Or((RAIN, SHORT)), STEREO))),
        ("not tag:rain", Not(RAIN)),
        ("not not tag:rain", RAIN),
        ("not(tag:rain)", Not(RAIN)),
        ("tag!=rain", Not(Says(WordField.TAG, Manner.EQUALS, "rain"))),
        ("name!~kick", Not(Says(WordField.NAME, Manner.CONTAINS, "kick"))),
        ("not name!~kick", Says(WordField.NAME, Manner.CONTAINS, "kick")),
        ('tag:"a \\" b\\\\"', Says(WordField.TAG, Manner.PATTERN, 'a " b\\')),
        ("tag:and", Says(WordField.TAG, Manner.PATTERN, "and")),
        ("path=a<=b:c", Says(WordField.PATH, Manner.EQUALS, "a<=b:c")),
        ("artist~Große", Says(NamedField("artist"), Manner.CONTAINS, "grosse")),
        ("meta.Mic-Type:x", Says(NamedField("mic-type"), Manner.PATTERN, "x")),
    ],
)
def test_is_read(text: str, condition: object) -> None:
    if condition is None:
        with pytest.raises(WhereError):
            parse_where(text)
    else:
        assert parse_where(text) == condition


@pytest.mark.parametrize(
    ("text", "field", "interval"),
    [
        ("duration>=1.5m", NumberField.DURATION, Interval(least=90)),
        ("duration:2..10", NumberField.DURATION, Interval(least=2, most=10)),
        ("duration:2..", NumberField.DURATION, Interval(least=2)),
        ("duration:..500ms", NumberField.DURATION, Interval(most=0.5)),
        ("rate=48k", NumberField.RATE, Interval(least=48_000, most=48_000)),
        ("size>2MB", NumberField.SIZE, Interval(above=2e6)),
        ("size<=1KiB", NumberField.SIZE, Interval(most=1024)),
        ("start>=.5", NumberField.START, Interval(least=0.5)),
    ],
)
def test_numbers_have_units(text: str, field: NumberField, interval: Interval) -> None:
    assert parse_where(text) == Within(field, interval)


def stamp(*date: int) -> float:
    return datetime(*date).timestamp()  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("modified=2024", Interval(least=stamp(2024, 1, 1), below=stamp(2025, 1, 1))),
        ("modified>2024-12", Interval(least=stamp(2025, 1, 1))),
        ("modified>=2024-12", Interval(least=stamp(2024, 12, 1))),
        ("modified<2024-05-31", Interval(below=stamp(2024, 5, 31))),
        ("modified<=2024-05-31", Interval(below=stamp(2024, 6, 1))),
        (
            "modified:2023..2024-02",
            Interval(least=stamp(2023, 1, 1), below=stamp(2024, 3, 1)),
        ),
    ],
)
def test_dates_are_whole_days_months_or_years(text: str, interval: Interval) -> None:
    assert parse_where(text) == Within(NumberField.MODIFIED, interval)


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("", 1, "a field such as duration or tag is expected, and it ends"),
        ("duration<", 10, "a value is expected, and it ends"),
        ("duration<ten", 10, "duration is a number, and 'ten' isn't"),
        ("channels=2 and duration<", 25, "a value is expected, and it ends"),
        ("channels=2khz", 10, "channels is a number, and '2khz' isn't"),
        ("tag rain", 5, "a comparison such as : or < is expected"),
        ("tag:a or or tag:b", 10, "a field such as duration or tag is expected"),
        ('tag:a and tag:"rain', 15, "a quote is never closed"),
        ("(tag:a", 7, "and, or, or ) is expected, and it ends"),
        ("tag:a)", 6, "there is no ( before this )"),
        ('tag:a "b"', 7, "and, or, or the end is expected"),
        ("tag:a and colour:red", 11, "there is no field colour"),
        ("tag<3", 4, "tag is words: it has no <"),
        ("tag:a duration~3", 15, "duration is a number: it has no ~"),
        ("modified=2024-13", 10, "modified is a date, and '2024-13' isn't"),
        ("duration:..", 10, "duration is a number, and '' isn't"),
        ("tag:a\n and colour:red", 12, "there is no field colour"),
        ("(" * 51 + "tag:a" + ")" * 51, 1, f"more than {MOST_PARENTHESES} parentheses"),
    ],
)
def test_an_error_points_at_the_column(text: str, column: int, what: str) -> None:
    with pytest.raises(WhereError) as caught:
        parse_where(text)
    assert (caught.value.what, caught.value.column) == (what, column)
    _, shown, mark = str(caught.value).split("\n")
    at = len(mark) - 1
    assert mark.strip() == "^"
    assert shown[at : at + 1].strip() == text[column - 1 : column].strip()


@given(st.text(max_size=60))
def test_nonsense_is_refused_without_a_traceback(text: str) -> None:
    try:
        parse_where(text)
    except WhereError:
        pass


PIECES = st.sampled_from(
    'tag duration meta.x and or not ( ) : < != ~ " \\ a 1 .. * 2024 modified \0 é'.split(" ")
)


@given(st.lists(PIECES, max_size=15).map("".join))
def test_what_nearly_is_a_condition_is_refused_without_a_traceback(text: str) -> None:
    try:
        condition = parse_where(text)
    except WhereError:
        return
    holds(condition, a_content(), a_place("a.wav"), TimeSpan(0, 1))


WORDS = st.text(min_size=1, max_size=20).filter(lambda text: "*" not in text and "?" not in text)


@given(WORDS, st.sampled_from([":", "=", "~"]))
def test_no_words_reach_beyond_their_field(words: str, sign: str) -> None:
    """Whatever stands between the quotes, it is one comparison of one field."""
    quoted = words.replace("\\", "\\\\").replace('"', '\\"')
    condition = parse_where(f'tag{sign}"{quoted}"')
    assert isinstance(condition, Says)
    assert condition.field is WordField.TAG
    assert holds(condition, a_content(words), a_place("x.wav"), TimeSpan(0, 1))
    assert not holds(condition, a_content(), a_place("x.wav"), TimeSpan(0, 1))


def a_content(*tags: str, **named: str) -> Content:
    notes = Notes(tags, tuple(named.items()))
    return Content("0" * 64, 2_000_000, 12.25, 44_100, 2, notes)


def a_place(path: str, *tags: str) -> Place:
    library = Path("/home/Ana/Field")
    return Place(library / path, library, 1_717_000_000_000_000_000, Notes(tags))


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        ("duration=12.25", True),
        ("duration<12.25", False),
        ("size<=2mb channels!=1 rate:44k..45k", True),
        ("modified=2024", True),
        ("start:10..12 end>10", True),
        ("start<10", False),
        ('path:"rain/*"', True),
        ("path:rain", False),
        ("path~rain", True),
        ("PATH:RAIN/tin*.wav", True),
        ("path:rain/????roof.wav", True),
        ("path:rain/?roof.wav", False),
        ("name:tin_roof.wav", True),
        ("name=tin*", False),
        ("name:tin*", True),
        ("ext:wav", True),
        ("library~field", True),
        ("tag:wet", True),
        ("tag:roof", True),
        ("tag:dry", False),
        ("tag!=dry", True),
        ("not tag:*", False),
        ("artist:ana", True),
        ("meta.artist:ana", True),
        ("album:*", False),
    ],
)
def test_holds(text: str, is_so: bool) -> None:
    content, place = a_content("Wet", artist="Ana"), a_place("Rain/Tin_Roof.WAV", "roof")
    assert holds(parse_where(text), content, place, TimeSpan(10, 12.25)) is is_so


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    condition = parse_where("name:" + "*a" * 30 + "b")
    assert not holds(condition, a_content(), a_place("a" * 200 + ".wav"), TimeSpan(0, 1))
