"""The index for language models: a few tools by the Model Context Protocol, that only read.

Answers are the records of `alm2vec search --json`, with the id of each sound. Nothing is fetched:
a model that isn't on this machine is an error that says how to get it.
"""

from __future__ import annotations

import base64
import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import anyio.to_thread
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import AudioContent, TextContent, ToolAnnotations
from pydantic import Field

from alm2vec_search.domain import TimeSpan, Verdict
from alm2vec_search.errors import Alm2VecError
from alm2vec_search.queries import Asked, require_asked
from alm2vec_search.search_request import SearchRequest
from alm2vec_search.serving.search_routes import answer_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from alm2vec_search.serving.engine import Engine
    from alm2vec_search.serving.sounds import Sounds

T = TypeVar("T")
INSTRUCTIONS = (
    "Search this machine's audio files by meaning. `search` takes words; a hit has a path, a time "
    "range in seconds, a verdict (strong, likely or weak: weak ones are usually no answers), and "
    "the id of its sound, which `similar` and `clip` take."
)
LONGEST_CLIP_S = 60.0
_READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)

Limit = Annotated[int, Field(ge=1, le=100, description="How many hits, at most.")]
Where = Annotated[
    str | None,
    Field(description="A condition: 'duration<10 and tag:rain and not path:\"drafts/*\"'."),
]
Min = Annotated[
    Literal["strong", "likely", "weak"], Field(description="What a hit has to be, at least.")
]
Seconds = Annotated[float | None, Field(ge=0)]


def create_mcp(engine: Engine, sounds: Sounds) -> MCPServer:
    """
    Args:
        engine: what answers.
        sounds: where clips come from.
    """
    server = MCPServer("alm2vec", instructions=INSTRUCTIONS, version=version("alm2vec-search"))

    def tool(function: Callable[..., Any]) -> None:
        server.tool(annotations=_READS, structured_output=False)(function)

    async def ask(asked: Asked, **choices: Any) -> str:
        request = SearchRequest(asked=asked, **choices)

        def work() -> str:
            require_asked(asked)
            answer = engine.search(request, lambda rate: asked.load(rate, split=request.split))
            return json.dumps(answer_record(answer))

        return await _in_thread(work)

    async def search(
        text: Annotated[str, Field(description='What to look for, as in "dog barking".')],
        instruction: Annotated[
            str | None, Field(description='What of a sound counts: "what animal is it?".')
        ] = None,
        less: Annotated[list[str] | None, Field(description="What isn't wanted, in words.")] = None,
        where: Where = None,
        min: Min = "weak",
        limit: Limit = 10,
        explain: Annotated[bool, Field(description="Say what is heard in each hit.")] = False,
    ) -> str:
        """Find sounds, and where in their files, by words."""
        asked = Asked(text=text, instruction=instruction, less=tuple(less or ()))
        return await ask(asked, where=where, min=Verdict(min), limit=limit, explain=explain)

    async def similar(
        like: Annotated[
            str,
            Field(
                description="A sound's id from a hit, or the absolute path of any audio file here."
            ),
        ],
        start_s: Annotated[Seconds, Field(description="Where the region starts.")] = None,
        end_s: Annotated[Seconds, Field(description="Where it ends.")] = None,
        text: Annotated[
            str | None, Field(description='Words beside the sound: "but with a violin".')
        ] = None,
        instruction: Annotated[
            str | None, Field(description='What counts: "which instrument is played?".')
        ] = None,
        where: Where = None,
        min: Min = "weak",
        limit: Limit = 10,
    ) -> str:
        """Find what sounds like a sound, or like a region of it."""
        path = await _in_thread(lambda: sounds.path_of(like))
        region = "" if start_s is None or end_s is None else f"@{start_s:g}-{end_s:g}"
        asked = Asked(text=text, like=f"{path}{region}", instruction=instruction)
        return await ask(asked, where=where, min=Verdict(min), limit=limit)

    async def index_status() -> str:
        """What is indexed: libraries, how many chunks, by which model, which aspects."""

        def work() -> str:
            status = engine.status()
            return json.dumps(
                {
                    "model": status.info.model,
                    "chunks": status.n_chunks,
                    "chunking": status.info.chunking,
                    "libraries": [str(library) for library in status.libraries],
                    "aspects": {a.name: a.instruction for a in status.info.aspects},
                }
            )

        return await _in_thread(work)

    async def clip(
        sound: Annotated[str, Field(description="A sound's id from a hit.")],
        start_s: Annotated[float, Field(ge=0)],
        end_s: Annotated[float, Field(gt=0)],
    ) -> list[TextContent | AudioContent]:
        """A stretch of a sound to listen to, of up to a minute, as WAV."""
        if not start_s < end_s <= start_s + LONGEST_CLIP_S:
            raise ToolError(f"a clip is longer than 0 and up to {LONGEST_CLIP_S:g} s")
        wav = await _in_thread(lambda: sounds.clip_bytes(sound, TimeSpan(start_s, end_s)))
        data = base64.b64encode(wav).decode("ascii")
        told = TextContent(text=f"{start_s:g}-{end_s:g} s")
        return [told, AudioContent(data=data, mime_type="audio/wav")]

    for function in (search, similar, index_status, clip):
        tool(function)
    return server


async def _in_thread(work: Callable[[], T]) -> T:
    """
    Raises:
        ToolError: with the message and the hint of an error of ours.
    """
    try:
        return await anyio.to_thread.run_sync(work)
    except Alm2VecError as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise ToolError(f"{error}{hint}") from error
