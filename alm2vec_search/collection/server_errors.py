"""What a Qdrant server and the way to it complain about, as a CollectionError.

No message of ours quotes a header, so that no key can be in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import httpx
from pydantic import ValidationError
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from alm2vec_search.errors import (
    CollectionError,
    CollectionFull,
    CollectionNotFound,
    CollectionUnavailable,
    one_line,
)

if TYPE_CHECKING:
    from alm2vec_search.addresses import ServerAddress

# What the client raises. A ValueError is what it doesn't even send.
COMPLAINTS = (ApiException, QdrantException, grpc.RpcError, httpx.HTTPError, ValueError)

START_HINT = "start it with `docker compose up -d`, or correct --store"
_KEY_HINT = "set ALM2VEC_API_KEY, or api_key in the file of settings"
_LATER_HINT = "try again later; the server's log says more"
_FULL = ("No space left", "not enough space", "Disk quota", "disk usage")
_PASSING = {429, 500, 502, 503, 504}
_GRPC_STATUS = {  # as HTTP says it
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
}
_GRPC_TRANSPORT = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


class Unfinished(ApiException):
    """A change was taken down, and isn't in force yet."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """One failed request."""

    text: str
    status: int | None = None  # of HTTP; None: no answer came
    retry_after_s: float | None = None  # as the server asks for

    @property
    def is_full(self) -> bool:
        return any(words in self.text for words in _FULL)

    @property
    def is_passing(self) -> bool:
        """Asking once more may help. All that we ask can be asked twice."""
        if self.status is None:
            return "CERTIFICATE" not in self.text.upper()
        return self.status in _PASSING and not self.is_full


def complaint_of(error: Exception) -> Complaint:
    match error:
        case ResourceExhaustedResponse():
            return Complaint(one_line(error), 429, float(error.retry_after_s))
        case Unfinished():
            return Complaint("the change isn't in force yet")
        case UnexpectedResponse():
            return Complaint(_said(error), error.status_code)
        case ResponseHandlingException() if isinstance(error.source, ValidationError):
            return Complaint("its answer isn't one of Qdrant", 200)
        case ResponseHandlingException():
            return complaint_of(error.source)
        case httpx.TimeoutException():
            return Complaint("no answer in time")
        case httpx.TransportError():
            return Complaint(one_line(error))
        case grpc.Call():
            text, code = one_line(Exception(error.details())), error.code()
            is_transport = code in _GRPC_TRANSPORT
            return Complaint(text, None if is_transport else _GRPC_STATUS.get(code, 400))
        case _:
            return Complaint(one_line(error), 400)


def _said(response: UnexpectedResponse) -> str:
    """The server's own words, where it found some."""
    try:
        status = json.loads(response.content)["status"]
        return one_line(Exception(status["error"]))
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase or "no reason was given"


def to_error(complaint: Complaint, address: ServerAddress) -> CollectionError:
    """What to tell of it."""
    text, url = complaint.text, address.url
    if complaint.is_full:
        return CollectionFull(
            f"no room left on the Qdrant server at {url}: {text}",
            hint="make room there, and run again",
        )
    match complaint.status:
        case None:
            return CollectionUnavailable(url, f"can't be reached: {text}", hint=START_HINT)
        case 401 if address.api_key is None:
            return CollectionUnavailable(url, "asks for a key", hint=_KEY_HINT)
        case 401:
            return CollectionUnavailable(url, "refuses the key that was given", hint=_KEY_HINT)
        case 403:
            return CollectionUnavailable(
                url,
                "doesn't let this key do that" if address.api_key else "asks for a key",
                hint="indexing needs a key that may write; " + _KEY_HINT,
            )
        case 404:
            return CollectionNotFound(str(address))
        case 413:
            return CollectionError(
                f"the Qdrant server at {url} takes no request of that size",
                hint="raise max_request_size_mb in its configuration to 32",
            )
        case status if complaint.is_passing:
            return CollectionUnavailable(
                url, f"can't do it now ({status}): {text}", hint=_LATER_HINT
            )
        case status:
            return CollectionError(f"the Qdrant server at {url} refuses ({status}): {text}")
