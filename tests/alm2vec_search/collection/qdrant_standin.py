"""A stand-in for a Qdrant server: the REST calls that we use, on loopback.

Each request's body is checked by qdrant-client's own models, which are made from Qdrant's OpenAPI
document and take no unknown fields, and answered by its local mode. Of an older version, it refuses
what that version doesn't know. It can be told to fail.

It proves what is sent and how failures are met; of Qdrant's engine it proves nothing. See
docs/qdrant-server.md.
"""

from __future__ import annotations

import json
import re
import threading
import time
import warnings
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from qdrant_client import QdrantClient, models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEWEST = "1.20.0"


class SimplyTokenized(QdrantClient):
    """Local mode. It knows only the plainest of text indexes, and warns of what it leaves out."""

    def create_payload_index(
        self, collection_name: str, field_name: str, field_schema: Any = None, **options: Any
    ) -> Any:
        if isinstance(field_schema, models.TextIndexParams):
            scoring = field_schema.scoring
            field_schema = models.TextIndexParams(type=models.TextIndexType.TEXT, scoring=scoring)
        return _quietly(
            lambda: QdrantClient.create_payload_index(
                self, collection_name, field_name, field_schema, **options
            )
        )

    def query_points(self, *args: Any, **options: Any) -> Any:
        return _quietly(lambda: QdrantClient.query_points(self, *args, **options))

    def query_points_groups(self, *args: Any, **options: Any) -> Any:
        return _quietly(lambda: QdrantClient.query_points_groups(self, *args, **options))


def _quietly(call: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


def local_client() -> QdrantClient:
    return SimplyTokenized(":memory:")


@dataclass
class Fault:
    """How a request fails."""

    status: int | None = None  # answered; None: the connection is cut
    headers: dict[str, str] = field(default_factory=dict)
    text: str = "it was told to"
    delay_s: float = 0.0  # before that
    is_done: bool = False  # the request has its effect, only the answer is another
    path: str = ""  # a pattern: of what requests; "" is any


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    n_bytes: int
    body: Any

    @property
    def operation(self) -> str:
        """As Qdrant's OpenAPI document has it."""
        path = re.sub(
            r"^/collections/(?!aliases$)[^/]+", "/collections/{collection_name}", self.path
        )
        path = re.sub(r"/vectors/[^/]+$", "/vectors/{vector_name}", path)
        return f"{self.method} {path}"


class StandIn:
    """A server on a port of its own, from `with` to its end."""

    def __init__(
        self, *, version: str = NEWEST, key: str | None = None, read_key: str | None = None
    ) -> None:
        self.version, self.key, self.read_key = version, key, read_key
        self.client = local_client()
        self.faults: deque[Fault] = deque()
        self.seen: list[Seen] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> StandIn:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self.client.close()

    def operations(self) -> list[str]:
        return [seen.operation for seen in self.seen]

    def fault_for(self, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if re.search(fault.path, path):
                    self.faults.remove(fault)
                    return fault
        return None

    def release(self) -> tuple[int, int]:
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)


class Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _handler(server: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            parts = urlsplit(self.path)
            query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            body = json.loads(raw) if raw else None
            seen = Seen(self.command, unquote(parts.path), query, len(raw), body)
            with server.lock:
                server.seen.append(seen)
            fault = server.fault_for(seen.path)
            if fault is not None:
                if fault.is_done:
                    self.result(seen)
                time.sleep(fault.delay_s)
                if fault.status is None:
                    self.close_connection = True
                    return
                self.send(fault.status, {"status": {"error": fault.text}}, fault.headers)
                return
            self.send(*self.result(seen))

        def result(self, seen: Seen) -> tuple[int, Any]:
            try:
                require_key(server, self.headers.get("api-key"), seen)
                with server.lock:
                    return 200, respond(server, seen)
            except Refused as refused:
                return refused.status, {"status": {"error": str(refused)}}
            except ValidationError as error:
                return 400, {"status": {"error": f"Format error in JSON body: {error}"}}
            except ValueError as error:
                is_missing = "not found" in str(error)
                return (404 if is_missing else 400), {"status": {"error": str(error)}}

        def send(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**(headers or {}), "content-type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def handle(self) -> None:
            try:
                super().handle()
            except (ConnectionError, BrokenPipeError):  # who asked has gone
                pass

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, *args: Any) -> None: ...

    return Handler


_READS = re.compile(r"/points/(count|scroll|query|query/groups)$|/points$")


def require_key(server: StandIn, given: str | None, seen: Seen) -> None:
    if server.key is None or given == server.key:
        return
    if given is None or given != server.read_key:
        raise Refused(401, "Must provide an API key or an Authorization bearer token")
    if seen.method != "GET" and not (seen.method == "POST" and _READS.search(seen.path)):
        raise Refused(403, "Forbidden: Global manage access is required")


# What came when: the release, and what of a body is of it


def require_known(server: StandIn, seen: Seen) -> None:
    """Refuse what the version doesn't know."""
    release = server.release()
    for path, value in _fields(seen.body):
        *_, above, name = ("", *path)
        newer = {
            (1, 20): (above == "match" and name == "substring")
            or (above == "query" and name == "text")
            or name == "scoring",
            (1, 19): (above == "match" and name == "prefix")
            or (above == "field_schema" and name == "prefix")
            or name == "memory",
            (1, 18): name == "turbo",
        }
        for since, is_used in newer.items():
            if is_used and release < since and value is not None:
                raise Refused(400, f"Format error in JSON body: unknown field `{name}`")
    if release < (1, 18) and "/vectors/" in seen.path:
        raise Refused(404, "")


def _fields(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("payload", "metadata"):  # the user's own
                continue
            yield (*path, name), inner
            yield from _fields(inner, (*path, name))
    elif isinstance(value, list) and value and not isinstance(value[0], float):
        for inner in value:
            yield from _fields(inner, path)


# The calls


def respond(server: StandIn, seen: Seen) -> Any:
    require_known(server, seen)
    for method, pattern, call in _CALLS:
        found = re.fullmatch(pattern, seen.path)
        if method == seen.method and found:
            result = call(server, seen, *found.groups())
            if seen.path == "/":
                return result
            return {"result": to_jsonable_python(result), "status": "ok", "time": 0.001}
    raise Refused(404, f"no such call: {seen.method} {seen.path}")


def _parsed(model: Any, seen: Seen) -> Any:
    """The body by the client's own model; what isn't in it is refused."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        return model.model_validate(seen.body)
    return TypeAdapter(model).validate_python(seen.body)


def _root(server: StandIn, seen: Seen) -> Any:
    return {"title": "qdrant - vector search engine", "version": server.version, "commit": None}


def _create(server: StandIn, seen: Seen, name: str) -> Any:
    body: models.CreateCollection = _parsed(models.CreateCollection, seen)
    return server.client.create_collection(
        name, vectors_config=body.vectors, metadata=body.metadata
    )


def _update(server: StandIn, seen: Seen, name: str) -> Any:
    body: models.UpdateCollection = _parsed(models.UpdateCollection, seen)
    return server.client.update_collection(name, metadata=body.metadata)


def _aliases(server: StandIn, seen: Seen) -> Any:
    body: models.ChangeAliasesOperation = _parsed(models.ChangeAliasesOperation, seen)
    return server.client.update_collection_aliases(body.actions)


def _index(server: StandIn, seen: Seen, name: str) -> Any:
    body: models.CreateFieldIndex = _parsed(models.CreateFieldIndex, seen)
    return server.client.create_payload_index(name, body.field_name, body.field_schema)


def _create_vectors(server: StandIn, seen: Seen, name: str, vector: str) -> Any:
    config = _parsed(models.VectorNameConfig, seen)
    return server.client.create_vector_name(name, vector, config)


def _upsert(server: StandIn, seen: Seen, name: str) -> Any:
    body: models.PointsList = _parsed(models.PointsList, seen)
    return server.client.upsert(name, body.points)


def _retrieve(server: StandIn, seen: Seen, name: str) -> Any:
    body: models.PointRequest = _parsed(models.PointRequest, seen)
    return server.client.retrieve(
        name,
        body.ids,
        with_payload=body.with_payload,
        with_vectors=body.with_vector,
    )


def _set_payload(server: StandIn, seen: Seen, name: str) -> Any:
    body: models.SetPayload = _parsed(models.SetPayload, seen)
    return server.client.set_payload(name, body.payload, points=body.filter or body.points)


def _delete(server: StandIn, seen: Seen, name: str) -> Any:
    return server.client.delete(name, _parsed(models.FilterSelector, seen))


def _update_vectors(server: StandIn, seen: Seen, name: str) -> Any:
    body: models.UpdateVectors = _parsed(models.UpdateVectors, seen)
    return server.client.update_vectors(name, body.points)


def _count(server: StandIn, seen: Seen, name: str) -> Any:
    body: models.CountRequest = _parsed(models.CountRequest, seen)
    return server.client.count(name, count_filter=body.filter, exact=body.exact or False)


def _scroll(server: StandIn, seen: Seen, name: str) -> Any:
    body: models.ScrollRequest = _parsed(models.ScrollRequest, seen)
    points, following = server.client.scroll(
        name,
        scroll_filter=body.filter,
        limit=body.limit or 10,
        offset=body.offset,
        with_payload=body.with_payload,
        with_vectors=body.with_vector,
    )
    return {"points": points, "next_page_offset": following}


def _query(server: StandIn, seen: Seen, name: str) -> Any:
    body: models.QueryRequest = _parsed(models.QueryRequest, seen)
    return server.client.query_points(
        name,
        query=body.query,
        using=body.using,
        query_filter=body.filter,
        limit=body.limit or 10,
        with_payload=body.with_payload,
    )


def _query_groups(server: StandIn, seen: Seen, name: str) -> Any:
    body: models.QueryGroupsRequest = _parsed(models.QueryGroupsRequest, seen)
    return server.client.query_points_groups(
        name,
        group_by=body.group_by,
        query=body.query,
        using=body.using,
        query_filter=body.filter,
        limit=body.limit or 10,
        group_size=body.group_size or 3,
        with_payload=body.with_payload,
    )


_OF = "/collections/([^/]+)"
_CALLS: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "/", _root),
    ("GET", "/collections", lambda server, seen: server.client.get_collections()),
    ("GET", "/aliases", lambda server, seen: server.client.get_aliases()),
    ("POST", "/collections/aliases", _aliases),
    ("GET", _OF, lambda server, seen, name: server.client.get_collection(name)),
    ("PUT", _OF, _create),
    ("PATCH", _OF, _update),
    ("DELETE", _OF, lambda server, seen, name: server.client.delete_collection(name)),
    (
        "GET",
        f"{_OF}/exists",
        lambda server, seen, name: {"exists": server.client.collection_exists(name)},
    ),
    ("PUT", f"{_OF}/index", _index),
    ("PUT", f"{_OF}/vectors/([^/]+)", _create_vectors),
    (
        "DELETE",
        f"{_OF}/vectors/([^/]+)",
        lambda server, seen, name, vector: server.client.delete_vector_name(name, vector),
    ),
    ("PUT", f"{_OF}/points", _upsert),
    ("POST", f"{_OF}/points", _retrieve),
    ("POST", f"{_OF}/points/payload", _set_payload),
    ("POST", f"{_OF}/points/delete", _delete),
    ("PUT", f"{_OF}/points/vectors", _update_vectors),
    ("POST", f"{_OF}/points/count", _count),
    ("POST", f"{_OF}/points/scroll", _scroll),
    ("POST", f"{_OF}/points/query", _query),
    ("POST", f"{_OF}/points/query/groups", _query_groups),
]
