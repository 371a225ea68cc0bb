"""The tools for language models, asked by a real client of the protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from alm2vec_search.serving.limits import Limits
from alm2vec_search.serving.mcp_server import create_mcp
from alm2vec_search.serving.sounds import Sounds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from mcp.server.mcpserver import MCPServer
    from served_index import Server

SAMPLES = Path(__file__).parents[3] / "samples"


@pytest.fixture
def tools(server: Server) -> Iterator[MCPServer]:
    engine = server.engine()
    sounds = Sounds(engine, cache=server.home / "clips", limits=Limits())
    yield create_mcp(engine, sounds)
    sounds.close()
    engine.close()


def ask(target: Any, work: Callable[[Client], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with Client(target) as client:
            return await work(client)

    return asyncio.run(main())


def call(target: Any, tool: str, **arguments: Any) -> Any:
    return ask(target, lambda client: client.call_tool(tool, arguments))


def answer(target: Any, tool: str, **arguments: Any) -> Any:
    result = call(target, tool, **arguments)
    assert not result.is_error, result.content
    return json.loads(result.content[0].text)


def test_they_say_that_they_only_read(tools: MCPServer) -> None:
    listed = ask(tools, lambda client: client.list_tools()).tools
    assert [tool.name for tool in listed] == ["search", "similar", "index_status", "clip"]
    for tool in listed:
        assert tool.annotations.read_only_hint
        assert not tool.annotations.destructive_hint
        assert tool.description
    search = listed[0].input_schema
    assert search["required"] == ["text"]
    assert all(
        "description" in field or "default" in field for field in search["properties"].values()
    )


def test_search_gives_the_records_of_the_command(tools: MCPServer) -> None:
    found = answer(tools, "search", text="high", limit=2, explain=True)
    first = found["hits"][0]
    assert Path(first["path"]).is_absolute()
    assert {"rank", "path", "start_s", "end_s", "score", "verdict", "sound"} <= first.keys()
    assert first["explanation"]["compared"] == "plain"
    assert found["nothing_matches"] in (True, False)


def test_conditions_and_what_is_not_wanted(tools: MCPServer) -> None:
    found = answer(tools, "search", text="low", less=["high"], where="name:low*")
    assert [Path(hit["path"]).name for hit in found["hits"]] == ["low.wav"]


def test_similar_to_a_hit_and_to_a_file(tools: MCPServer, server: Server) -> None:
    hit = answer(tools, "search", text="middle", where="name:middle*")["hits"][0]
    by_id = answer(tools, "similar", like=hit["sound"], limit=1)
    by_path = answer(tools, "similar", like=str(server.library / "middle" / "middle.wav"), limit=1)
    for found in (by_id, by_path):
        assert Path(found["hits"][0]["path"]).name == "middle.wav"
    both = str(server.library / "both.flac")
    found = answer(tools, "similar", like=both, start_s=4.5, end_s=6, where="name:high*")
    assert found["hits"][0]["score"] > 0.9


def test_what_is_indexed(tools: MCPServer, server: Server) -> None:
    told = answer(tools, "index_status")
    assert told["model"] == "fake"
    assert told["libraries"] == [str(server.library)]


def test_a_clip(tools: MCPServer) -> None:
    hit = answer(tools, "search", text="low", where="name:low*")["hits"][0]
    told, audio = call(tools, "clip", sound=hit["sound"], start_s=0, end_s=1.5).content
    assert told.text == "0-1.5 s"
    assert audio.mime_type == "audio/wav"
    assert len(base64.b64decode(audio.data)) == 44 + 2 * 1.5 * 16_000


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("search", {"text": " "}, "the query is empty"),
        ("search", {"text": "x", "where": "duration<<3"}, "column 10"),
        ("search", {"text": "x", "limit": 0}, "limit"),
        ("similar", {"like": "nope"}, "no such sound"),
        ("similar", {"like": "/nowhere/at/all.wav"}, "/nowhere/at/all.wav"),
        ("clip", {"sound": "nope", "start_s": 0, "end_s": 1}, "no such sound"),
        ("clip", {"sound": "x", "start_s": 1, "end_s": 1}, "up to 60 s"),
        ("clip", {"sound": "x", "start_s": 0, "end_s": 61}, "up to 60 s"),
    ],
)
def test_errors_say_what_to_do(
    tools: MCPServer, tool: str, arguments: dict[str, Any], message: str
) -> None:
    result = call(tools, tool, **arguments)
    assert result.is_error
    assert message in result.content[0].text


def test_the_command_as_a_client_starts_it() -> None:
    """`alm2vec mcp` with the real model, on stdin and stdout."""
    alm2vec = [sys.executable, "-m", "alm2vec_search.cli"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*alm2vec, "index", "-q", str(SAMPLES / "animals")], check=True, env=environment)
    server = StdioServerParameters(
        command=alm2vec[0], args=[*alm2vec[1:], "mcp"], env=environment, cwd=str(SAMPLES.parent)
    )
    found = answer(server, "search", text="dog barking", limit=1)
    assert Path(found["hits"][0]["path"]).name == "REC_0042.wav"
