"""What the tests of models that answer share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chat_stand_in import ChatStandIn, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[ChatStandIn]:
    with running(ChatStandIn()) as stand_in:
        yield stand_in


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
