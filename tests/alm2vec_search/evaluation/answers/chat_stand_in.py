"""A server of chat completions, as far as tests need one."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def completion(content: str | None) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    said = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
    return said | {"choices": [choice]}


def failure(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "t", "code": None, "param": None}}


@dataclass
class ChatStandIn:
    """Answers in turn with what it was told to, the last for good, and remembers what it got."""

    answers: list[tuple[int, object]] = field(default_factory=lambda: [(200, completion("B"))])
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    address: str = ""

    def take(self, path: str, key: str | None, body: bytes) -> tuple[int, object]:
        self.paths.append(path)
        self.keys.append(key)
        self.asked.append(json.loads(body))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def running(stand_in: ChatStandIn) -> Iterator[ChatStandIn]:
    """It answers at its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, answer = stand_in.take(self.path, self.headers["authorization"], body)
            is_text = isinstance(answer, str)
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "text/html" if is_text else "application/json")
            self.send_header("content-length", str(len(data)))
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        stand_in.address = f"http://127.0.0.1:{http.server_address[1]}/v1"
        try:
            yield stand_in
        finally:
            http.shutdown()
            thread.join()
