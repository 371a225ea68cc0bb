"""Questions that come with their possible answers: `What is it? (A) a dog. (B) a cat.`"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IN_BRACKETS = re.compile(r"\(([A-Za-z])\)")
ON_LINES = re.compile(r"^[ \t]*([A-Z])[ \t]*[.):][ \t]", re.MULTILINE)
ANYWHERE = re.compile(r"(?<!\S)([A-Z])[ \t]*[.):](?=\s)")

_ASKS_TO_CHOOSE = re.compile(
    r"\s*(?:Please (?:choose|select|pick)|Choose|Select|Pick)\b[^.?!:\n]*"
    r"\b(?:options?|answers?|choices?|following)\b[^.?!:\n]*[.:]?\s*$"
)
_ASKS_TO_THINK = re.compile(
    r"\s*(?:please think and reason about the input \w+ before you respond"
    r"|output the answer with <summary>.*tags)\.?\s*$",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"[\s,;]*(?:[\s,;](?:or|and))?\s*$")
_WORD = re.compile(r"[^\W_]+|[^\w\s.,;:!?'\"()-]")
_LABEL = re.compile(r"\s*\(?([A-Za-z])(?:[).:]+(?=\s|$)|\s*$)")


@dataclass(frozen=True)
class Choice:
    """The right one of several answers, and the wrong ones."""

    right: str
    wrong: tuple[str, ...]


def split_options(
    text: str, styles: Sequence[re.Pattern[str]] = (IN_BRACKETS, ON_LINES)
) -> tuple[str, dict[str, str]]:
    """Take the options out of a question.

    Args:
        text: the question, with options A, B, … after it, or without.
        styles: how options may be marked, the surest first.

    Returns:
        the question alone, and the options by their letters; no options if it has none.

    >>> split_options("What is it? Choose one among the following options: (A) Owl. (B) Cat.")
    ('What is it?', {'A': 'Owl', 'B': 'Cat'})
    """
    text = _ASKS_TO_THINK.sub("", text)
    for style in styles:
        marks = _in_order(list(style.finditer(text)))
        if len(marks) < 2:
            continue
        ends = [mark.start() for mark in marks[1:]] + [len(text)]
        options = {
            mark.group(1).upper(): _bare(text[mark.end() : end])
            for mark, end in zip(marks, ends, strict=True)
        }
        question = text[: marks[0].start()].strip()
        return _ASKS_TO_CHOOSE.sub("", question).strip() or question, options
    return text.strip(), {}


def label_options(options: Sequence[str]) -> dict[str, str]:
    """Options of a list, by their letters. They may bring the letters along.

    >>> label_options(["(A) a dog", "(B) a cat"])
    {'A': 'a dog', 'B': 'a cat'}
    """
    letters = [chr(ord("A") + index) for index in range(len(options))]
    labels = [_LABEL.match(option) for option in options]
    if [label and label.group(1).upper() for label in labels] == letters:
        options = [label.string[label.end() :] for label in labels if label]
    return {letter: _bare(option) for letter, option in zip(letters, options, strict=True)}


def choose(options: Mapping[str, str], answer: str) -> Choice | None:
    """Which option the answer is. None if it is none of them, or if it contradicts itself.

    The answer may be a letter, the text of an option, both, or reasoning that names one letter in
    brackets.

    >>> choose({"A": "an owl", "B": "a cat"}, "(B) a cat.")
    Choice(right='a cat', wrong=('an owl',))
    """
    label = _LABEL.match(answer)
    letters = {mark.group(1).upper() for mark in IN_BRACKETS.finditer(answer)}
    letters |= {label.group(1).upper()} if label else set()
    letters &= options.keys()
    says = {letter: _words(option) for letter, option in options.items()}
    answers = [_words(answer), _words(answer[label.end() :]) if label else []]
    by_text = {letter for letter, words in says.items() if words and words in answers}
    meant = letters & by_text if letters and by_text else letters | by_text  # both have to agree
    if len(meant) != 1:
        return None
    (right,) = meant
    if not options[right]:
        return None
    wrong = [options[letter] for letter, words in says.items() if words and words != says[right]]
    return Choice(options[right], tuple(dict.fromkeys(wrong)))


def _in_order(marks: Sequence[re.Match[str]]) -> list[re.Match[str]]:
    """The marks of A, B, C, …: of several such rows, the longest, and of those the last."""
    best: list[re.Match[str]] = []
    for start, mark in enumerate(marks):
        if mark.group(1).upper() != "A":
            continue
        row = [mark]
        for other in marks[start + 1 :]:
            if other.group(1).upper() == chr(ord("A") + len(row)):
                row.append(other)
        if len(row) >= len(best):
            best = row
    return best


def _bare(option: str) -> str:
    """Without what stands between options, and without a full stop: only some have one."""
    option = _BETWEEN.sub("", " ".join(option.split()))
    return option[:-1].rstrip() if re.search(r"[^.]\.$", option) else option


def _words(text: str) -> list[str]:
    """What an answer says, however it is written."""
    return _WORD.findall(text.casefold())
