"""Which collections of a server are an index of ours, and which of them its alias means.

An index is known by its alias. Behind it lies a collection whose name says what made it, such as
`alm2vec__small__3f2a90c1__10s-10s__g1`, and whose metadata says it exactly. The alias is set as the
last step when a collection is made: one without an alias is half made, or kept from before.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qdrant_client import models as qdrant

from alm2vec_search.collection.info import (
    REBUILD_HINT,
    OtherFormat,
    from_document,
    to_document,
)
from alm2vec_search.collection.server_schema import ClusterLayout, codes, indexes, vectors
from alm2vec_search.errors import CollectionError, CollectionNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.collection.base import CollectionInfo
    from alm2vec_search.collection.server_connection import Server
    from alm2vec_search.domain import Aspect

_BETWEEN = "__"  # the parts of a name
_MODEL_SHOWN = 60  # characters
_FINGERPRINT_SHOWN = 8
_ALIAS, _MARK, _BEFORE = "alias", "mark", "before"  # in the metadata, beside the info


@dataclass(frozen=True, slots=True)
class Described:
    """What a collection's metadata says."""

    name: str
    info: CollectionInfo
    mark: str
    before: str | None  # the collection that the alias meant before this one


def name_of(alias: str, info: CollectionInfo, generation: int = 1) -> str:
    """
    >>> from alm2vec_search.collection.base import CollectionInfo
    >>> name_of("alm2vec", CollectionInfo("3f2a90c1d4e5-f32", "10s/2.5s", 384, "a/My model"))
    'alm2vec__My-model__3f2a90c1__10s-2.5s__g1'
    """
    model = info.model.replace("\\", "/").rstrip("/").rpartition("/")[2][:_MODEL_SHOWN]
    parts = (model, info.fingerprint[:_FINGERPRINT_SHOWN], info.chunking)
    said = [re.sub(r"[^A-Za-z0-9.]+", "-", part) for part in parts]
    return _BETWEEN.join([alias, *said, f"g{generation}"])


def aliased(server: Server) -> str | None:
    """The collection that the alias means; None if there is no such alias."""
    aliases = server.ask(lambda client: client.get_aliases()).aliases
    meant = {alias.alias_name: alias.collection_name for alias in aliases}
    return meant.get(server.address.alias)


def require_aliased(server: Server) -> str:
    """
    Raises:
        CollectionNotFound: there is no such alias.
    """
    name = aliased(server)
    if name is None:
        raise CollectionNotFound(str(server.address))
    return name


def describe(server: Server, name: str) -> Described:
    """
    Raises:
        CollectionError: the collection isn't one of ours, or of a later version.
    """
    config = server.ask(lambda client: client.get_collection(name)).config
    document: dict[str, Any] = dict(config.metadata or {})
    document.pop(_ALIAS, None)
    mark = str(document.pop(_MARK, ""))
    before = document.pop(_BEFORE, None)
    try:
        return Described(name, from_document(document), mark, before)
    except OtherFormat as error:
        raise CollectionError(
            f"the index {server.address} was made by {error} of alm2vec", hint=REBUILD_HINT
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise CollectionError(
            f"the collection {name} at {server.address.url} isn't one of alm2vec",
            hint="give the index another name: ALM2VEC_COLLECTION",
        ) from error


def make(server: Server, info: CollectionInfo, layout: ClusterLayout) -> str:
    """A collection with its indexes, and then, as the last step, its alias; its name.

    One that somebody else is making right now, or left half made, is finished.

    Raises:
        CollectionError: something else has the name.
    """
    alias = server.address.alias
    name = name_of(alias, info)
    if server.ask(lambda client: client.collection_exists(alias)):
        if (meanwhile := aliased(server)) is not None:  # somebody was quicker
            return meanwhile
        raise CollectionError(
            f"{server.address.url} has a collection called {alias}, and it isn't one of alm2vec",
            hint="give the index another name: ALM2VEC_COLLECTION",
        )
    build(server, name, info, layout)
    _set_alias(server, name)
    return name


def build(server: Server, name: str, info: CollectionInfo, layout: ClusterLayout) -> None:
    """A collection with its indexes, under no alias. One that is there is finished.

    Raises:
        CollectionError: there is one of that name that something else made.
    """
    if not server.ask(lambda client: client.collection_exists(name)):
        try:
            _create(server, name, info, layout)
        except CollectionError:  # somebody was quicker, or we were, and the answer got lost
            if not server.ask(lambda client: client.collection_exists(name)):
                raise
    if describe(server, name).info != info:
        raise CollectionError(
            f"the collection {name} at {server.address.url} was made by something else",
            hint="give the index another name: ALM2VEC_COLLECTION, or delete that one",
        )
    for field, index in indexes(server.features).items():
        _index(server, name, field, index)


def _index(server: Server, name: str, field: str, index: qdrant.PayloadSchemaParams) -> None:
    server.ask(lambda client: client.create_payload_index(name, field, index, wait=True))


def _create(server: Server, name: str, info: CollectionInfo, layout: ClusterLayout) -> None:
    features = server.features
    server.ask(
        lambda client: client.create_collection(
            name,
            vectors_config=vectors(info.embedding_dim, features),
            quantization_config=codes(features),
            shard_number=layout.shard_number,
            replication_factor=layout.replication_factor,
            write_consistency_factor=layout.write_consistency_factor,
            metadata={
                **to_document(info),
                _ALIAS: server.address.alias,
                _MARK: secrets.token_hex(8),
            },
        )
    )


def _set_alias(server: Server, name: str) -> None:
    """From here on there is an index."""
    new = qdrant.CreateAlias(collection_name=name, alias_name=server.address.alias)
    change = qdrant.CreateAliasOperation(create_alias=new)
    server.ask(lambda client: client.update_collection_aliases([change]))


def move_alias(server: Server, name: str) -> None:
    """The alias means this collection from now on, in one step."""
    alias = server.address.alias
    gone = qdrant.DeleteAliasOperation(delete_alias=qdrant.DeleteAlias(alias_name=alias))
    new = qdrant.CreateAlias(collection_name=name, alias_name=alias)
    changes: list[qdrant.AliasOperations] = [gone, qdrant.CreateAliasOperation(create_alias=new)]
    try:
        server.ask(lambda client: client.update_collection_aliases(changes))
    except CollectionError:  # it was done, and the answer got lost
        if aliased(server) != name:
            raise


def remove_alias(server: Server) -> None:
    alias = server.address.alias
    if aliased(server) is not None:
        gone = qdrant.DeleteAlias(alias_name=alias)
        change = qdrant.DeleteAliasOperation(delete_alias=gone)
        try:
            server.ask(lambda client: client.update_collection_aliases([change]))
        except CollectionError:  # it was done, and the answer got lost
            if aliased(server) is not None:
                raise


def kept(server: Server) -> list[str]:
    """All collections that were made for the alias, whether it means them now or not."""
    alias = server.address.alias
    there = server.ask(lambda client: client.get_collections()).collections
    named = sorted(c.name for c in there if c.name.startswith(f"{alias}{_BETWEEN}"))
    return [name for name in named if _alias_in_metadata(server, name) == alias]


def _alias_in_metadata(server: Server, name: str) -> object:
    config = server.ask(lambda client: client.get_collection(name)).config
    return (config.metadata or {}).get(_ALIAS)


def delete(server: Server, name: str) -> None:
    server.ask(lambda client: client.delete_collection(name))


def write_aspects(server: Server, name: str, aspects: Sequence[Aspect]) -> None:
    said = [{"name": aspect.name, "instruction": aspect.instruction} for aspect in aspects]
    server.ask(lambda client: client.update_collection(name, metadata={"aspects": said}))


def write_mark(server: Server, name: str) -> str:
    """A new mark."""
    mark = secrets.token_hex(8)
    server.ask(lambda client: client.update_collection(name, metadata={_MARK: mark}))
    return mark


def write_before(server: Server, name: str, before: str) -> None:
    """Which collection the alias meant until this one took its place."""
    server.ask(lambda client: client.update_collection(name, metadata={_BEFORE: before}))
