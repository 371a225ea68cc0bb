from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alm2vec_search.evaluation.answers.prompting import LETTERS, picked, prompt_for
from alm2vec_search.evaluation.answers.questions import ChoiceQuestion

PETS = ("a cat", "a dog", "a blackbird", "An aeroplane")
KEYS = ("C major", "G major", "A minor", "B")


def test_a_prompt_has_all_options_by_letters() -> None:
    question = ChoiceQuestion("What is heard?\nListen well.", ("a dog", "two cats", "none"))

    assert prompt_for(question) == (
        "What is heard?\nListen well.\n\nA. a dog\nB. two cats\nC. none\n\n"
        "Answer with the letter of the right option, and nothing else."
    )


@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "b",
        "B.",
        "B)",
        "(B)",
        "(b)",
        "[B]",
        "B:",
        " B \n",
        '"B"',
        "**B**",
        "**B.** a dog",
        "*B*",
        "`B`",
        "$B$",
        "\\boxed{B}",
        "$\\boxed{\\text{B}}$",
        "B. a dog",
        "B) a dog",
        "(B) a dog.",
        "b. a dog",
        "B a dog",
        "B - a dog",
        "B: A DOG",
        "B, a dog",
        "a dog",
        "A dog",
        "A dog.",
        "**a dog**",
        '"a dog"',
        "It is a dog.",
        "I hear a dog barking in the distance.",
        "The sound is of a dog",
        "The answer is (b).",
        "The answer is B",
        "The answer is b.",
        "The answer is: B",
        "The correct answer is **B**.",
        "The correct answer is (B) a dog.",
        "The answer is a dog.",
        "The answer is a dog, not a cat.",
        "the answer would be B because it barks",
        "Answer: B",
        "Answer: B. a dog",
        "answer = b",
        "ANSWER: (B)",
        "**Answer:** B",
        "Answer\nB",
        "Option B",
        "option b",
        "Option (B)",
        "The right one is option B.",
        "The correct choice is B.",
        "My choice is option B",
        "I choose B.",
        "I'd pick (B), since a cat doesn't bark.",
        "I think B is right",
        "I think it's B.",
        "It's B, since a cat would not bark.",
        "It is B, not A.",
        "It is not a cat. The answer is B.",
        "It isn't a cat but a dog.",
        "(A) is wrong, as is (C). The answer is (B).",
        "Option A is a cat, which does not bark, so the answer is B.",
        "<think>A? No, that is a cat. Or C?</think>B",
        "<think>A? No.</think>\n\nThe answer is B.",
        "A? No, that is a cat.</think>B",
        "<answer>B</answer>",
        "<thinking>A?</thinking><answer>(B)</answer>",
        "# B",
        "B\n",
        "B\n\nThe barking is clear.",
    ],
)
def test_what_means_the_second(answer: str) -> None:
    assert picked(answer, PETS) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "   ",
        "A or B",
        "A and B",
        "A, B",
        "A/B",
        "(A) (B)",
        "(A) or (B)",
        "B or C",
        "B, C",
        "Both A and B",
        "Either B or A",
        "Option A or option B",
        "A cat or a dog",
        "a cat, a dog",
        "The answer is A. No, the answer is B.",
        "The answer is A or B.",
        "B. a cat",
        "(B) a cat",
        "The answer is B. a cat",
        "E",
        "(E)",
        "The answer is E.",
        "Z",
        "5",
        "a horse",
        "I can't tell.",
        "I don't know",
        "I do not hear a sound.",
        "A sound is heard.",
        "a",  # the letter; and below the word
        "It is not a dog",
        "It isn't B.",
        "not (B)",
        "As an AI model, I can't listen.",
        "<think>It is B",
        "None of these.",
        "a catalogue",
        "adog",
    ],
)
def test_what_means_none_of_the_last_three(answer: str) -> None:
    """Most of them mean nothing at all; a bare letter a is the first option."""
    assert picked(answer, PETS) == (0 if answer == "a" else None)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("A", 0),
        ("A.", 0),
        ("A. a cat", 0),
        ("The answer is A", 0),
        ("The answer is A.", 0),
        ("The answer is (a)", 0),
        ("It is A", 0),
        ("Option A is right", 0),
        ("Option A", 0),
        ("A cat", 0),
        ("D. An aeroplane", 3),
        ("an aeroplane", 3),
        ("An aeroplane takes off; a plain sound.", 3),
        ("C", 2),
    ],
)
def test_a_and_an_are_words_too(answer: str, expected: int) -> None:
    assert picked(answer, PETS) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("C major", 0),
        ("The key is C major.", 0),
        ("A. C major", 0),
        ("A", 0),
        ("C", 2),
        ("A minor", 2),
        ("It is in A minor", 2),
        ("(C) A minor", 2),
        ("(C) C major", None),
        ("B", None),  # the letter of one option, and the text of another
        ("D", 3),
        ("D. B", 3),
        ("B. G major", 1),
    ],
)
def test_options_that_look_like_letters(answer: str, expected: int | None) -> None:
    assert picked(answer, KEYS) == expected


@pytest.mark.parametrize(
    ("answer", "options", "expected"),
    [
        ("It is a small dog barking.", ("a dog", "a small dog", "dog barking"), None),
        ("a small dog", ("dog", "a small dog"), 1),
        ("dog", ("dog", "a small dog"), 0),
        ("5 seconds", ("5 seconds", "2.5 seconds"), 0),
        ("2.5 seconds", ("5 seconds", "2.5 seconds"), 1),
        ("about 1.5 seconds", ("5 seconds", "2.5 seconds"), None),
        ("-5 dB", ("5 dB", "-5 dB"), 1),
        ("5 dB", ("5 dB", "-5 dB"), 0),
        ("C# minor", ("C minor", "C# minor"), 1),
        ("two", ("one", "two", "Two."), None),
        ("Rock'n'roll", ("rock'n'roll", "rock"), 0),
        ("狗", ("猫", "狗"), 1),
        ("Yes", ("yes", "no"), 0),
        ("No", ("yes", "no"), 1),
        ("No.", ("yes", "no"), 1),
        ("B. no", ("yes", "no"), 1),
    ],
)
def test_texts_of_options(answer: str, options: tuple[str, ...], expected: int | None) -> None:
    assert picked(answer, options) == expected


@given(
    options=st.lists(st.text(min_size=1, max_size=9), min_size=2, max_size=26),
    answer=st.text(max_size=60),
)
def test_any_answer_can_be_read(options: list[str], answer: str) -> None:
    found = picked(answer, options)

    assert found is None or 0 <= found < len(options)


@given(n_options=st.integers(2, 26), data=st.data())
def test_the_letter_that_was_asked_for_is_always_read(n_options: int, data: st.DataObject) -> None:
    options = [f"sound number {number}" for number in range(n_options)]
    right = data.draw(st.integers(0, n_options - 1))

    for form in ("{}", "({})", "{}.", "{}. {}", "The answer is ({}) {}.", "Answer: {}"):
        assert picked(form.format(LETTERS[right], options[right]), options) == right


@pytest.mark.parametrize("n_options", [0, 1, 27])
def test_a_question_has_options_that_have_letters(n_options: int) -> None:
    with pytest.raises(ValueError, match=f"2 to 26 options, not {n_options}"):
        ChoiceQuestion("?", ("x",) * n_options)
