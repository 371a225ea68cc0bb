"""What queries and documents of the data sets are told to be.

ALM2Vec publishes two sentences, `QUESTION` and `DOCUMENT` (its model card). The others are in their
manner, and in that of VoiceTrace, by the same authors (its Table I).
"""

from __future__ import annotations

from dataclasses import dataclass

QUESTION = (
    "Based on the question asked in the text query and context in the audio query, retrieve the "
    "relevant text document associated with that question."
)  # ALM2Vec: a question and the sound it is about → the answer
DOCUMENT = "Represent the user's input."  # ALM2Vec: any document


@dataclass(frozen=True)
class BothWays:
    """Instructions for a text and a sound that belong together; None is the model's own."""

    to_audio: str | None  # the text asks
    to_text: str | None  # the sound asks
    document: str | None = DOCUMENT


SOUND = BothWays(
    # what the published models are asked by default here, so that a plain search is what was
    # trained (`alm2vec_search.model.published`)
    to_audio="Retrieve an audio document that is relevant to the given query.",
    # after VoiceTrace's speech → speech, "… relevant to the content of the given speech query."
    to_text="Retrieve a text document that is relevant to the content of the given audio query.",
)
SPEECH = BothWays(
    to_audio="Retrieve a speech document that is relevant to the given text query.",  # VoiceTrace
    # after VoiceTrace's speech → speech
    to_text="Retrieve a text document that is relevant to the content of the given speech query.",
)
# One's own sounds are searched by the model as it is: with what it takes where nothing is given.
PLAIN = BothWays(to_audio=None, to_text=None, document=None)
