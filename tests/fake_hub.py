"""A hub of models on this machine, as huggingface_hub asks for one.

Small files come from the hub itself; large ones from another host that it leads to, as the real one
does. Nothing is written to disk: a repository is a folder as it was when it was published.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

LARGE = (".safetensors", ".bin")  # what lies elsewhere


@dataclass(frozen=True)
class Asked:
    """A request, as it came in."""

    method: str
    path: str
    token: str | None
    range: str | None


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False  # after half of the body


@dataclass
class FakeRepository:
    """What one repository holds."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # files, by commit
    refs: dict[str, str] = field(default_factory=dict)  # commits, by branch or tag
    token: str | None = None  # of whoever accepted its terms, if it has some
    lists_files: bool = True  # to everyone


class FakeHub:
    """Serves from the start of a `with` block to its end, or until it is closed."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.cut: str | None = None  # the file whose next download breaks off in the middle
        self.broken: str | None = None  # the file that can't be downloaded
        self._repositories: dict[str, FakeRepository] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._elsewhere = f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> FakeHub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def publish(self, repo_id: str, folder: Path, *refs: str) -> str:
        """Commit a folder, and move these branches and tags there; the commit."""
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        commit = hashlib.sha1(repr((repo_id, files)).encode()).hexdigest()
        repository = self._repositories.setdefault(repo_id, FakeRepository())
        repository.commits[commit] = files
        repository.refs |= dict.fromkeys(refs or ["main"], commit)
        return commit

    def gate(self, repo_id: str, token: str, *, lists_files: bool = True) -> None:
        """Ask for terms to be accepted: whoever did has this token."""
        self._repositories[repo_id].token = token
        self._repositories[repo_id].lists_files = lists_files

    @property
    def fetched(self) -> list[str]:
        """The names of all files whose bytes were asked for, from the start or not."""
        return [
            unquote(asked.path).rpartition("/")[2]
            for asked in self.asked
            if asked.method == "GET"
            and not asked.path.startswith("/api/")
            and ("/elsewhere/" in asked.path or not asked.path.endswith(LARGE))
        ]

    def answer(self, asked: Asked) -> Answer:
        kind, *parts = [unquote(part) for part in urlsplit(asked.path).path.split("/")[1:]]
        if kind == "elsewhere":
            return self._content(asked, *parts)
        if kind == "api" and parts[0] != "models":
            return _refusal(404, "NotFound", "Not found")
        if kind == "api":
            _, owner, name, what, revision = parts
            file = ""
        else:
            owner, (name, what, revision, *rest) = kind, parts
            file = "/".join(rest)
        repo_id = f"{owner}/{name}"
        repository = self._repositories.get(repo_id)
        if repository is None:
            return _refusal(404 if asked.token else 401, "RepoNotFound", "Repository not found")
        if asked.token != repository.token and repository.token is not None:
            if what == "resolve" or not repository.lists_files:
                return _refusal(
                    403 if asked.token else 401,
                    "GatedRepo",
                    f"Access to model {repo_id} is restricted and you are not in the list.",
                )
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            return _refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = repository.commits[commit]
        if what == "revision":
            siblings = [{"rfilename": name} for name in files]
            return _json({"id": repo_id, "sha": commit, "siblings": siblings})
        if what == "tree":
            return _json(_tree(files))
        if file not in files:
            return _refusal(404, "EntryNotFound", "Entry not found", commit)
        return self._resolve(asked, repo_id, commit, file)

    def _resolve(self, asked: Asked, repo_id: str, commit: str, file: str) -> Answer:
        content = self._repositories[repo_id].commits[commit][file]
        if file.endswith(LARGE):
            headers = {
                "X-Repo-Commit": commit,
                "X-Linked-Etag": f'"{_sha256(content)}"',
                "X-Linked-Size": str(len(content)),
                "Location": f"{self._elsewhere}/elsewhere/{repo_id}/{commit}/{file}",
            }
            return Answer(302, b"Found", headers)
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_git_sha1(content)}"'}
        return self._bytes(asked, file, content, headers)

    def _content(self, asked: Asked, owner: str, name: str, commit: str, *file: str) -> Answer:
        path = "/".join(file)
        content = self._repositories[f"{owner}/{name}"].commits[commit][path]
        return self._bytes(asked, path, content, {"ETag": f'"{_sha256(content)}"'})

    def _bytes(self, asked: Asked, file: str, content: bytes, headers: dict[str, str]) -> Answer:
        if asked.method == "GET" and self.broken == file:
            return Answer(500)
        if asked.range is not None:
            start = int(asked.range.removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return Answer(206, content[start:], headers)
        cut = asked.method == "GET" and self.cut == file
        if cut:
            self.cut = None
        return Answer(200, content, headers, cut)


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = self.headers.get("Authorization")
            token = None if said is None else said.removeprefix("Bearer ")
            asked = Asked(self.command, self.path, token, self.headers.get("Range"))
            hub.asked.append(asked)
            answer = hub.answer(asked)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command == "GET":
                half = len(answer.body) // 2
                self.wfile.write(answer.body[:half] if answer.cut else answer.body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _json(said: Any) -> Answer:
    return Answer(200, json.dumps(said).encode(), {"Content-Type": "application/json"})


def _refusal(status: int, code: str, message: str, commit: str | None = None) -> Answer:
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    if commit is not None:
        headers["X-Repo-Commit"] = commit
    return Answer(status, json.dumps({"error": message}).encode(), headers)


def _tree(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """What a commit holds, as the hub lists it: folders, too."""
    folders = sorted({name.rpartition("/")[0] for name in files} - {""})
    entries: list[dict[str, Any]] = [
        {"type": "directory", "path": folder, "size": 0, "oid": _git_sha1(folder.encode())}
        for folder in folders
    ]
    for name, content in files.items():
        entry = {"type": "file", "path": name, "size": len(content), "oid": _git_sha1(content)}
        if name.endswith(LARGE):
            entry["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 134}
        entries.append(entry)
    return entries


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
