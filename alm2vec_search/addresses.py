"""Where a Qdrant server is, and what an index is called there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import urlsplit

DEFAULT_ALIAS = "alm2vec"
REST_PORT, GRPC_PORT = 6333, 6334
DEFAULT_TIMEOUT_S = 60
_SCHEMES = {"http": "http", "https": "https", "grpc": "http", "grpcs": "https"}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def is_url(store: str) -> bool:
    """Whether a store is named by a URL, and isn't a folder.

    >>> is_url("http://localhost:6333"), is_url("C:/index"), is_url("index")
    (True, False, False)
    """
    return "://" in store


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server, and the alias of an index there. What it prints holds no secret.

    Args:
        url: `http(s)://HOST[:PORT][/PREFIX]`; of the REST interface, which gRPC doesn't replace.
        alias: what people call the index; the collection behind it may change.
        timeout_s: for one request.

    Raises:
        ValueError: the URL or the alias can't be used.
    """

    url: str
    alias: str = DEFAULT_ALIAS
    api_key: str | None = field(default=None, repr=False)
    prefer_grpc: bool = False
    grpc_port: int = GRPC_PORT
    timeout_s: int = DEFAULT_TIMEOUT_S

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not the address of a server: it has to be http(s)://HOST:PORT")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("not the address of a server: a key goes into ALM2VEC_API_KEY")
        # Two underscores are what comes after it in the names of collections.
        if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]|_(?!_)){0,99}", self.alias):
            raise ValueError(
                "not a name for an index on a server: letters, digits, dots and hyphens only"
            )

    @classmethod
    def parse(
        cls,
        store: str,
        *,
        alias: str = DEFAULT_ALIAS,
        api_key: str | None = None,
        timeout_s: int = DEFAULT_TIMEOUT_S,
    ) -> ServerAddress:
        """A store as users write it: http(s)://HOST[:6333], or grpc(s)://HOST[:6334].

        Raises:
            ValueError: it can't be used.

        >>> ServerAddress.parse("grpc://Box").url
        'http://box:6333'
        """
        scheme, _, rest = store.partition("://")
        if scheme.lower() not in _SCHEMES:
            raise ValueError("not the address of a server: http, https, grpc or grpcs is missing")
        parts = urlsplit(f"//{rest}")
        is_grpc = scheme.lower().startswith("grpc")
        if parts.username is not None or parts.query or parts.fragment or not parts.hostname:
            raise ValueError("not the address of a server: a key goes into ALM2VEC_API_KEY")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = REST_PORT if is_grpc else parts.port or REST_PORT
        return cls(
            url=f"{_SCHEMES[scheme.lower()]}://{host}:{port}{parts.path.rstrip('/')}",
            alias=alias,
            api_key=api_key,
            prefer_grpc=is_grpc,
            grpc_port=(parts.port or GRPC_PORT) if is_grpc else GRPC_PORT,
            timeout_s=timeout_s,
        )

    @property
    def folder_name(self) -> str:
        """What belongs to the index on this machine lies in a folder of this name."""
        return sha256(f"{self.url}\n{self.alias}".encode()).hexdigest()[:16]

    @property
    def exposes_key(self) -> bool:
        """The key goes over a network as it is."""
        parts = urlsplit(self.url)
        is_open = parts.scheme == "http" and parts.hostname not in _LOOPBACK
        return self.api_key is not None and is_open

    def __str__(self) -> str:
        """
        >>> str(ServerAddress("http://localhost:6333"))
        'alm2vec at http://localhost:6333'
        """
        return f"{self.alias} at {self.url}"
