"""`alm2vec mcp`: the index as tools for language models."""

from __future__ import annotations

from alm2vec_search.commands.options import DeviceOption, ModelOption, StoreOption


def mcp(store: StoreOption = None, model: ModelOption = None, device: DeviceOption = None) -> None:
    """Let a language model search: Model Context Protocol, on stdin and stdout.

    Its tools only read: search, similar, index_status, clip. For a client that starts servers by a
    command, that command is `alm2vec mcp`.
    """
    from alm2vec_search.commands.engines import build_engine
    from alm2vec_search.serving.limits import Limits
    from alm2vec_search.serving.mcp_server import create_mcp
    from alm2vec_search.serving.sounds import Sounds
    from alm2vec_search.settings import load_settings

    settings = load_settings(store=store, model=model, device=device)
    engine = build_engine(settings)
    sounds = Sounds(engine, cache=settings.home / "clips", limits=Limits())
    try:
        create_mcp(engine, sounds).run()
    finally:
        sounds.close()
        engine.close()
