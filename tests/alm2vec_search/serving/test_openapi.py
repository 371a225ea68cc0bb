"""The OpenAPI document, and whether the server keeps to it, whatever it is sent.

Schemathesis makes requests of the document, right ones and wrong ones. None may make the server
break down, and every answer has a status, a type and a shape that the document announces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from served_index import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from served_index import Server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]


@pytest.fixture
def described(server: Server) -> Iterator[schemathesis.BaseSchema]:
    with running(server.app(idle_s=30)) as address:
        yield schemathesis.openapi.from_url(f"{address}/v1/openapi.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_as_announced(
    described: schemathesis.BaseSchema, mode: GenerationMode
) -> None:
    operations = [result.ok() for result in described.get_all_operations()]
    assert len(operations) >= 12
    sound = _any_sound(described)
    for operation in operations:
        try:
            cases = operation.as_strategy(generation_mode=mode)
        except Unsatisfiable:  # nothing can be wrong with a request that takes nothing
            continue

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=cases)
        def ask(case: schemathesis.Case) -> None:
            if mode is GenerationMode.POSITIVE:
                _point_at(case, sound)
            case.call_and_validate(checks=CHECKS)

        try:
            ask()
        except Unsatisfiable:
            continue


def _any_sound(described: schemathesis.BaseSchema) -> str:
    search = described["/v1/search"]["GET"].Case(query={"text": "low"})
    return str(search.call().json()["hits"][0]["sound"])


def _point_at(case: schemathesis.Case, sound: str) -> None:
    """So that requests get further than to what isn't there."""
    if case.path.startswith("/v1/sounds"):
        case.path_parameters["sound"] = sound
    if case.path == "/v1/search" and isinstance(case.body, dict):
        case.body["text"] = "low"
        case.body.pop("where", None)
