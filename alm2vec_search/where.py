"""Conditions as people write them: `duration<10 and tag:rain and not path:"field/*"`.

    number     duration<10s  rate>=48k  size<2MB  channels=2  duration:2..10  modified>2024-05
    words      tag:rain  name:kick*  path:"field/*"  artist~eno  ext=wav  meta.take:3
    together   and (or just a space), or, not, ( )

`:` compares with a pattern, in which `*` stands for anything and `?` for one character; `=` takes
every character for itself; `~` asks whether it is contained; `!=` and `!~` are their opposites.
Words with spaces or parentheses stand in double quotes, in which a backslash keeps a quote.
"""

from __future__ import annotations

import calendar
import re
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

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
    fold,
)
from alm2vec_search.errors import WhereError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lark import Lark, Token

    from alm2vec_search.conditions import Condition

MOST_PARENTHESES = 50  # so that nothing that looks at a condition runs out of stack
ANY_NAME = "meta."
NAMED = (  # fields of the formats that audio files keep notes in; others are asked as meta.NAME
    "title",
    "artist",
    "album",
    "albumartist",
    "composer",
    "genre",
    "date",
    "description",
    "comment",
    "copyright",
    "category",
    "subcategory",
    "creator",
    "source",
    "project",
    "scene",
    "take",
)

_GRAMMAR = r"""
    ?either: both (_OR both)*
    ?both: one (_AND? one)*
    ?one: comparison | _NOT one -> opposite | "(" either ")"
    comparison: FIELD OPERATOR (VALUE | QUOTED)

    _AND.2: /and(?![\w.])/i
    _OR.2: /or(?![\w.])/i
    _NOT.2: /not(?![\w.])/i
    FIELD: /(?!(and|or|not)(?![\w.]))[^\W\d][\w.-]*/i
    OPERATOR: "<=" | ">=" | "!=" | "!~" | "<" | ">" | "=" | ":" | "~"
    QUOTED: /"(\\.|[^"\\])*"/s
    VALUE: /[^\s()"]+/
    %ignore /\s+/
"""
_UNITS: dict[NumberField, dict[str, float]] = {
    NumberField.DURATION: {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600},
    NumberField.CHANNELS: {"": 1},
    NumberField.RATE: {"": 1, "hz": 1, "k": 1000, "khz": 1000},
    NumberField.SIZE: {"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9}
    | {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30},
}
_UNITS[NumberField.START] = _UNITS[NumberField.END] = _UNITS[NumberField.DURATION]
_NUMBER = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")
_WORD_SIGNS = {":": Manner.PATTERN, "=": Manner.EQUALS, "~": Manner.CONTAINS}


def parse_where(text: str) -> Condition:
    """What a condition says.

    Raises:
        WhereError: it can't be understood; says where.
    """
    from lark import UnexpectedInput

    if text.count("(") > MOST_PARENTHESES:
        raise WhereError(f"more than {MOST_PARENTHESES} parentheses", text, column=1)
    try:
        condition: Any = _parser().parse(text)
    except _Misread as error:
        raise WhereError(error.what, text, column=error.column, hint=error.hint) from None
    except UnexpectedInput as error:
        token = getattr(error, "token", None)
        is_end = token is not None and token.type == "$END"
        column = len(text.rstrip()) + 1 if is_end else int(error.pos_in_stream or 0) + 1
        raise WhereError(_complaint(text, column, error), text, column=column) from None
    parsed: Condition = condition
    return parsed


class _Misread(Exception):
    """A token that is in its place, and makes no sense there."""

    def __init__(self, what: str, token: Token, *, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.column = (token.start_pos or 0) + 1
        self.hint = hint


@cache
def _parser() -> Lark:
    from lark import Lark, Transformer, v_args

    class ToCondition(Transformer[Any, Any]):
        """Each rule, as soon as it was read."""

        def either(self, parts: Sequence[Condition]) -> Condition:
            return Or(tuple(_flat(Or, parts)))

        def both(self, parts: Sequence[Condition]) -> Condition:
            return And(tuple(_flat(And, parts)))

        def opposite(self, parts: Sequence[Condition]) -> Condition:
            return _opposite(parts[0])

        @v_args(inline=True)
        def comparison(self, field: Token, sign: Token, value: Token) -> Condition:
            return _comparison(field, sign, value)

    return Lark(_GRAMMAR, parser="lalr", start="either", transformer=ToCondition())


def _flat(kind: type[And | Or], parts: Sequence[Condition]) -> list[Condition]:
    """Parts of parts of the same kind are parts."""
    flat: list[Condition] = []
    for part in parts:
        flat += part.parts if isinstance(part, kind) else [part]
    return flat


def _opposite(part: Condition) -> Condition:
    return part.part if isinstance(part, Not) else Not(part)


def _comparison(field: Token, sign: Token, value: Token) -> Condition:
    text = _unquoted(value)
    name = fold(field)
    if name in {known.value for known in NumberField}:
        return _within(NumberField(name), sign, value, text)
    if sign.lstrip("!") not in _WORD_SIGNS:
        raise _Misread(f"{field} is words: it has no {sign}", sign)
    positive = Says(_word_field(field, name), _WORD_SIGNS[sign.lstrip("!")], fold(text))
    return Not(positive) if sign.startswith("!") else positive


def _word_field(field: Token, name: str) -> WordField | NamedField:
    if name in {known.value for known in WordField}:
        return WordField(name)
    if name in NAMED:
        return NamedField(name)
    if name.startswith(ANY_NAME) and name != ANY_NAME:
        return NamedField(name.removeprefix(ANY_NAME))
    numbers, words = [f.value for f in NumberField], [f.value for f in WordField]
    known = ", ".join([*numbers, *words, *NAMED])
    raise _Misread(f"there is no field {field}", field, hint=f"one of {known}, or {ANY_NAME}COLUMN")


def _unquoted(value: Token) -> str:
    if value.type == "QUOTED":
        return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
    return str(value)


def _within(field: NumberField, sign: Token, value: Token, text: str) -> Condition:
    read: Callable[[NumberField, Token, str], Interval] = (
        _date if field is NumberField.MODIFIED else _number
    )
    if sign == ":":
        first, _, last = text.partition("..")
        low = read(field, value, first) if first or not last else Interval()
        high = read(field, value, last) if last else Interval() if ".." in text else low
        return Within(field, Interval(least=low.least, most=high.most, below=high.below))
    if "~" in sign:
        raise _Misread(f"{field.value} is a number: it has no {sign}", sign)
    meant = read(field, value, text)
    match str(sign):
        case "=":
            return Within(field, meant)
        case "!=":
            return Not(Within(field, meant))
        case "<":
            return Within(field, Interval(below=meant.least))
        case ">=":
            return Within(field, Interval(least=meant.least))
        case "<=":
            return Within(field, Interval(most=meant.most, below=meant.below))
        case _:  # >: beyond all that is meant, which for a day is the whole of it
            return Within(field, Interval(above=meant.most, least=meant.below))


def _number(field: NumberField, value: Token, text: str) -> Interval:
    match = _NUMBER.fullmatch(text.strip())
    units = _UNITS[field]
    if match is None or match[2].lower() not in units:
        named = ", ".join(unit for unit in units if unit)
        hint = f"a number, with {named} after it if you like" if named else "a whole number"
        raise _Misread(f"{field.value} is a number, and {text!r} isn't", value, hint=hint)
    number = float(match[1]) * units[match[2].lower()]
    return Interval(least=number, most=number)


def _date(field: NumberField, value: Token, text: str) -> Interval:
    """A year, a month or a day, whole, in the time of this machine."""
    match = _DATE.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError
        year, month, day = (int(part) if part else None for part in match.groups())
        first = datetime(year or 0, month or 1, day or 1).astimezone()
        if month is None:
            n_days = 366 if calendar.isleap(first.year) else 365
        else:
            n_days = 1 if day else calendar.monthrange(first.year, month)[1]
        after = (first.replace(tzinfo=None) + timedelta(days=n_days)).astimezone()
        return Interval(least=first.timestamp(), below=after.timestamp())
    except (ValueError, OverflowError):
        hint = "a year, a month or a day: 2024, 2024-05, 2024-05-31"
        raise _Misread(f"{field.value} is a date, and {text!r} isn't", value, hint=hint) from None


def _complaint(text: str, column: int, error: Exception) -> str:
    rest = text[column - 1 :].strip()
    if rest.startswith('"') and not re.match(r'"(\\.|[^"\\])*"', rest, re.DOTALL):
        return "a quote is never closed"
    sets = (getattr(error, name, None) for name in ("accepts", "expected", "allowed"))
    accepted: set[str] = next((names for names in sets if names), set())
    if accepted & {"VALUE", "QUOTED"}:
        expected = "a value is expected"
    elif "OPERATOR" in accepted:
        expected = "a comparison such as : or < is expected"
    elif "RPAR" in accepted:
        expected = "and, or, or ) is expected"
    elif rest.startswith(")") and not accepted:
        return "there is no ( before this )"
    elif "_AND" in accepted:
        expected = "and, or, or the end is expected"
    else:
        expected = "a field such as duration or tag is expected"
    return expected if rest else f"{expected}, and it ends"
