"""A question with options → a prompt; free text → the option it means.

An answer is read strictly: where two options could be meant, none is. A model that doesn't commit
itself, or says what isn't among the options, has not answered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alm2vec_search.evaluation.answers.questions import LETTERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alm2vec_search.evaluation.answers.questions import ChoiceQuestion

ASK_FOR_LETTER = "Answer with the letter of the right option, and nothing else."

_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_UP_TO_THOUGHT_S_END = re.compile(r".*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{(?:\\text\{)?([^{}]*)\}?\}")
_TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL | re.IGNORECASE)
_MARKUP = re.compile(r"</?[a-z]+>|\*+|`+|\$+|^#+\s", re.MULTILINE | re.IGNORECASE)

# A number is one word, with its sign and its decimals; marks that only divide are none.
_WORD = re.compile(r"(?<![\w-])-?\d+(?:[.,:]\d+)*|[^\W_]+(?:['’][^\W_]+)*|[^\w\s.,;:!?'’\"“”()*-]")
_DENIALS = {"not", "no", "nor", "never", "cannot"}

_NO_MORE = r"(?![A-Za-z0-9'’#♯♭])"  # it is no letter of a word
_AT_END = r"(?=\W*\Z|\s*[.):,;\n\]])"
_ALONE = rf"(?:[B-HJ-Zb-hj-z]{_NO_MORE}|[AaIi]{_NO_MORE}{_AT_END})"  # a and I are words, too
_SAID = re.compile(
    r"\b(?:answer|choice|choose|chose|pick|select)\b"
    r"(?:\s+(?:is|was|would\s+be|should\s+be|must\s+be))?\s*[:=]?\s*"
    rf"(?:(?:option|choice|letter)\s+)?[(\[\"'“]*({_ALONE})",
    re.IGNORECASE,
)
_MARKS = (
    re.compile(r"[(\[]\s*([A-Za-z])\s*[)\]]"),  # (B)
    re.compile(rf"\b(?:options?|choices?|letters?)\s*[:=]?\s*[\"'“]?([A-Za-z]){_NO_MORE}", re.I),
    re.compile(r"(?<![\w'’.])([A-Z])\s*[.):\]](?=\s|\Z)"),  # B. or B)
    re.compile(r"\A\W*([A-Za-z])\s*[.):\]](?=\s|\Z)"),  # b. at the start
    re.compile(rf"(?<![\w'’.])([B-HJ-Z]){_NO_MORE}(?!-)"),  # B
    re.compile(rf"(?<![\w'’])([A-Z]){_NO_MORE}(?=\W*\Z|\s*[/,]|\s+(?:or|and)\b)"),  # A, A or
    re.compile(r"(?:\b(?:or|and)\s+|/\s*)([A-Z])(?![\w'’])"),  # or A
)
_BETWEEN = re.compile(r"[\s.):\]\"'”’,;–—-]*")


def prompt_for(question: ChoiceQuestion) -> str:
    r"""The question, its options by letters, and what is wanted.

    >>> from alm2vec_search.evaluation.answers.questions import ChoiceQuestion
    >>> print(prompt_for(ChoiceQuestion("What is heard?", ("a dog", "a cat"))))
    What is heard?
    <BLANKLINE>
    A. a dog
    B. a cat
    <BLANKLINE>
    Answer with the letter of the right option, and nothing else.
    """
    options = [
        f"{letter}. {option}" for letter, option in zip(LETTERS, question.options, strict=False)
    ]
    return "\n".join([question.text, "", *options, "", ASK_FOR_LETTER])


def picked(answer: str, options: Sequence[str]) -> int | None:
    """Which option an answer means, by its letter or its text; None where it can't be told.

    In this order: all of it is an option; it says `the answer is ...`; there is one letter in it,
    or the text of one option. A letter whose own text another option has contradicts itself.

    >>> picked("The answer is (b).", ["a dog", "a cat"])
    1
    >>> picked("A or B", ["a dog", "a cat"]) is None
    True
    """
    text = _plain(answer)
    mentions = list(_mentions(text, options))
    whole = {mention.option for mention in mentions if mention.is_all_of(text)}
    bare = re.fullmatch(r"\W*([A-Za-z])\W*", text)
    letter = _index(bare[1], options) if bare else None
    if letter is not None:
        whole.add(letter)
    if whole:
        return whole.pop() if len(whole) == 1 else None
    said = [mark for mark in _SAID.finditer(text) if _index(mark[1], options) is not None]
    marks = said or [mark for pattern in _MARKS for mark in pattern.finditer(text)]
    return _agreed(text, marks, mentions, options)


@dataclass(frozen=True, slots=True)
class _Mention:
    """Where in an answer the text of an option stands."""

    option: int
    start: int
    end: int
    denied: bool  # "not a dog"

    def is_all_of(self, text: str) -> bool:
        outside = text[: self.start] + text[self.end :]
        return not _WORD.search(outside)

    def covers(self, start: int, end: int) -> bool:
        return self.start <= start and end <= self.end and self.end - self.start > end - start


def _agreed(
    text: str,
    marks: Sequence[re.Match[str]],
    mentions: Sequence[_Mention],
    options: Sequence[str],
) -> int | None:
    """What the letters and the texts of an answer have in common."""
    letters: set[int] = set()
    labelled = 0  # up to here, the text is what a letter before it stands for
    for mark in sorted(marks, key=lambda mark: mark.start(1)):
        option = _index(mark[1], options)
        start, end = mark.span(1)
        in_an_option = start < labelled or any(mention.covers(start, end) for mention in mentions)
        if option is None or in_an_option or _is_denied(text[:start]):
            continue
        after = _BETWEEN.match(text, end)
        follows = {m.option: m.end for m in mentions if after and m.start == after.end()}
        if follows and option not in follows:
            return None
        labelled = follows.get(option, labelled)
        letters.add(option)
    texts = {mention.option for mention in mentions if not mention.denied}
    meant = letters or texts
    return meant.pop() if len(meant) == 1 else None


def _plain(answer: str) -> str:
    """Without what it thought first, and without markup."""
    text = _UP_TO_THOUGHT_S_END.sub("", _THOUGHT.sub("", answer))
    tagged = _TAGGED.findall(text)
    if tagged:
        text = tagged[-1]
    text = _BOXED.sub(r"\1", text)
    return _MARKUP.sub("", text).strip()


def _index(letter: str, options: Sequence[str]) -> int | None:
    index = LETTERS.find(letter.upper())
    return index if 0 <= index < len(options) else None


def _mentions(text: str, options: Sequence[str]) -> Iterator[_Mention]:
    """Where options stand in it; of those that lie within others, the longest."""
    words = list(_WORD.finditer(text))
    said = [word.group().casefold() for word in words]
    found: list[_Mention] = []
    for option, wanted in enumerate(map(_words, options)):
        n = len(wanted)
        for first in range(len(said) - n + 1) if n else ():
            if said[first : first + n] == wanted:
                start, end = words[first].start(), words[first + n - 1].end()
                found.append(_Mention(option, start, end, _is_denied(text[:start])))
    for mention in found:
        if not any(other.covers(mention.start, mention.end) for other in found):
            yield mention


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _is_denied(before: str) -> bool:
    """Whether what comes next is said not to be it."""
    last = [word for word in _words(before)[-3:] if word not in ("option", "a", "an", "the")][-1:]
    return any(word in _DENIALS or word.endswith(("n't", "n’t")) for word in last)
