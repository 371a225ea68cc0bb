"""A server one can ask: what fails in passing is asked again, what else fails is translated."""

from __future__ import annotations

import random
import time
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from qdrant_client import QdrantClient
from qdrant_client import models as qdrant

from alm2vec_search.collection.server_errors import (
    COMPLAINTS,
    Complaint,
    Unfinished,
    complaint_of,
    to_error,
)
from alm2vec_search.collection.server_schema import ServerFeatures
from alm2vec_search.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from alm2vec_search.addresses import ServerAddress

    Connect = Callable[[ServerAddress], QdrantClient]

T = TypeVar("T")
_LONGEST_ASKED_S = 60.0  # that a server may ask us to wait


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is asked again: by default for 3 to 6 s, or as long as it says itself."""

    n_tries: int = 6
    first_s: float = 0.2
    longest_s: float = 10.0

    def wait_s(self, n_tried: int, chance: float) -> float:
        """Before the next try: twice as long each time, at random between half and all of it, so
        that those who failed together don't come back together.

        >>> [round(Patience().wait_s(n, chance=1.0), 1) for n in (1, 2, 3, 9)]
        [0.2, 0.4, 0.8, 10.0]
        """
        longest = min(self.longest_s, self.first_s * 2 ** (n_tried - 1))
        return float(longest * (0.5 + chance / 2))


def connect(address: ServerAddress) -> QdrantClient:
    """A client. It asks nothing yet."""
    with warnings.catch_warnings():
        # It warns of every key without TLS, on this machine too; `exposes_key` is said elsewhere.
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        parts = urlsplit(address.url)
        return QdrantClient(
            url=f"{parts.scheme}://{parts.netloc}",
            port=parts.port,
            prefix=parts.path or None,
            api_key=address.api_key,
            prefer_grpc=address.prefer_grpc,
            grpc_port=address.grpc_port,
            timeout=address.timeout_s,
            check_compatibility=False,  # `features` looks at the version
        )


class Server:
    """A connection to a server, until it is closed."""

    def __init__(
        self,
        address: ServerAddress,
        *,
        connect: Connect = connect,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = address
        self._client: QdrantClient | None = connect(address)
        self._patience = patience or Patience()
        self._sleep = sleep

    @cached_property
    def features(self) -> ServerFeatures:
        """
        Raises:
            CollectionError: the server is too old.
        """
        return ServerFeatures.of(self.ask(lambda client: client.info()).version)

    def require_open(self) -> QdrantClient:
        """
        Raises:
            CollectionError: it was closed.
        """
        if self._client is None:
            raise CollectionError(f"the index {self.address} is closed")
        return self._client

    def ask(self, request: Callable[[QdrantClient], T]) -> T:
        """The answer to a request, which may be sent more than once.

        Raises:
            CollectionUnavailable: none came, or the key isn't good for it.
            CollectionFull: there is no room on the server.
            CollectionError: it was refused.
        """
        n_tried = 0
        while True:
            client = self.require_open()
            try:
                return self._finished(request(client))
            except COMPLAINTS as error:
                complaint = complaint_of(error)
                n_tried += 1
                if not complaint.is_passing or n_tried >= self._patience.n_tries:
                    raise to_error(complaint, self.address) from error
            self._sleep(self._wait_s(complaint, n_tried))

    def _finished(self, answer: T) -> T:
        """A change that the server acknowledged, but didn't get done in time, isn't one."""
        if isinstance(answer, qdrant.UpdateResult) and answer.status not in (
            qdrant.UpdateStatus.COMPLETED,
            qdrant.UpdateStatus.ACKNOWLEDGED,
        ):
            raise Unfinished
        return answer

    def _wait_s(self, complaint: Complaint, n_tried: int) -> float:
        asked_s = min(complaint.retry_after_s or 0.0, _LONGEST_ASKED_S)
        return max(asked_s, self._patience.wait_s(n_tried, random.random()))

    def close(self) -> None:
        """Closing twice is fine."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
