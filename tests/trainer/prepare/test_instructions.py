"""Instructions that have to be what others say."""

from __future__ import annotations

from alm2vec_search.model.published import OURS
from trainer.prepare.instructions import DOCUMENT, SOUND


def test_a_plain_search_asks_what_was_trained() -> None:
    assert OURS["query_instruction"] == SOUND.to_audio
    assert OURS["document_instruction"] == DOCUMENT
