"""From settings to what the server and the tools ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from alm2vec_search.serving.engine import Engine
    from alm2vec_search.settings import Settings


def build_engine(settings: Settings, *, observe: Callable[[int], None] = lambda n: None) -> Engine:
    """
    Args:
        observe: is told how many inputs went through the model together, each time.
    """
    from alm2vec_search.serving.engine import Engine
    from alm2vec_search.serving.lending import Lender
    from alm2vec_search.terminal import say
    from alm2vec_search.wiring import build_encoder, build_judge, open_collection

    lender = Lender(lambda: open_collection(settings))
    if settings.server is not None:  # others may use it meanwhile; its alias may be moved
        lender = Lender(lambda: open_collection(settings), idle_s=60, renew_s=5)
    return Engine(
        lender,
        load=lambda info: build_encoder(settings, info, say),
        judge=lambda encoder: build_judge(settings, encoder),
        observe=observe,
    )
