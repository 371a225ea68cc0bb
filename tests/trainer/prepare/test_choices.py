"""Options: taken out of questions, and the right one found by what the answer says."""

from __future__ import annotations

import pytest

from trainer.prepare.choices import (
    ANYWHERE,
    IN_BRACKETS,
    ON_LINES,
    Choice,
    choose,
    label_options,
    split_options,
)

CATS = {"A": "a dog", "B": "a cat", "C": "rain"}


@pytest.mark.parametrize(
    ("text", "question", "options"),
    [
        ("Is it (A) a dog, (B) a cat or (C) rain?", "Is it", ["a dog", "a cat", "rain?"]),
        ("Which?\n(a) a dog.\n(b) a cat.", "Which?", ["a dog", "a cat"]),
        ("Which?\nA. a dog\nB. a cat", "Which?", ["a dog", "a cat"]),
        ("Which?\nA) a dog\nB) a cat", "Which?", ["a dog", "a cat"]),
        ("Which (A) is like (A) a dog (B) a cat", "Which (A) is like", ["a dog", "a cat"]),
        ("Which? (A) vitamin (C) (B) a cat", "Which?", ["vitamin (C)", "a cat"]),
        ("Which? (A) a dog... (B) e.g. a cat.", "Which?", ["a dog...", "e.g. a cat"]),
        ("Which? Choose the correct option: (A) it (B) us", "Which?", ["it", "us"]),
        ("Which? Please select an answer from the options. (A) it (B) us", "Which?", ["it", "us"]),
        ("Which would you choose of the following? (A) it (B) us", None, ["it", "us"]),
        ("Choose the right option. (A) it (B) us", "Choose the right option.", ["it", "us"]),
        (
            "Which? (A) it (B) us. Please think and reason about the input music before you "
            "respond.",
            "Which?",
            ["it", "us"],
        ),
    ],
)
def test_options_in_a_question(text: str, question: str | None, options: list[str]) -> None:
    alone, found = split_options(text)

    assert alone == (question or "Which would you choose of the following?")
    assert list(found.values()) == options
    assert list(found) == [chr(65 + index) for index in range(len(options))]


@pytest.mark.parametrize(
    "text",
    [
        "What is heard?",
        "Is vitamin (A) or (C) named?",
        "Who is speaker A. and who is B. in this?",
        "What does (A) mean?",
    ],
)
def test_no_options(text: str) -> None:
    assert split_options(f" {text} ") == (text, {})


def test_the_wish_to_think_goes_where_there_are_no_options() -> None:
    text = "What is heard? Please think and reason about the input audio before you respond."

    assert split_options(text) == ("What is heard?", {})


def test_the_surest_style_decides() -> None:
    text = "Which? A. is (A) one B. is (B) two"

    _, options = split_options(text, (IN_BRACKETS, ON_LINES, ANYWHERE))

    assert options == {"A": "one B. is", "B": "two"}


def test_options_of_a_list() -> None:
    assert label_options(["a dog.", "a cat"]) == {"A": "a dog", "B": "a cat"}
    assert label_options(["A. a dog", "B. a cat"]) == {"A": "a dog", "B": "a cat"}
    assert label_options(["B. a dog", "A. a cat"]) == {"A": "B. a dog", "B": "A. a cat"}
    assert label_options([]) == {}


@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "b",
        "B.",
        "(B)",
        "(B) a cat",
        "B: A cat.",
        "A  cat",
        "a cat.",
        "B. It meows, as no dog does.",
        "It meows, so the most fitting is: *(B) a cat*",
    ],
)
def test_the_answer_is_found(answer: str) -> None:
    assert choose(CATS, answer) == Choice("a cat", ("a dog", "rain"))


@pytest.mark.parametrize("answer", ["", "D", "(D) a fox", "a fox", "(A) a cat", "(A) or (B)", "I"])
def test_the_answer_is_none_of_them(answer: str) -> None:
    assert choose(CATS, answer) is None


def test_a_letter_that_is_another_options_text_is_not_guessed() -> None:
    keys = {"A": "C", "B": "D", "C": "E"}

    assert choose(keys, "C") is None
    assert choose(keys, "(A) C") == Choice("C", ("D", "E"))


def test_wrong_options_that_say_the_same_as_the_right_one_are_left_out() -> None:
    options = {"A": "A dog", "B": "a dog!", "C": "rain", "D": "rain", "E": ""}

    assert choose(options, "A") == Choice("A dog", ("rain",))


def test_signs_may_be_all_there_is() -> None:
    assert choose({"A": "+", "B": "♯", "C": "雨"}, "♯") == Choice("♯", ("+", "雨"))
