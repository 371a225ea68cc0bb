"""How a collection is laid out on a server: its vectors, codes and indexes, by what it can."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdrant_client import models as qdrant

from alm2vec_search.collection.payload import (
    CONTENT_HASH,
    LIBRARY,
    NUMBERS,
    PATH,
    SILENT,
    SOUGHT_NAMED,
    SOUGHT_PATHS,
    SOUGHT_TAGS,
    SOUGHT_WORDS,
)
from alm2vec_search.conditions import NumberField
from alm2vec_search.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAIN = "plain"  # the vector of no aspect
_ASPECT = "aspect-"  # what the names of the others begin with
_OLDEST = (1, 16)  # a collection has metadata from there on, and a condition of any word
_INDEXED_NUMBERS = [
    field for field in NumberField if field not in (NumberField.START, NumberField.END)
]


@dataclass(frozen=True, slots=True)
class ServerFeatures:
    """What of that which came later a server has."""

    has_turbo_codes: bool = True  # 1.18; int8 before
    has_vector_names: bool = True  # 1.18: vectors can be added to what is there
    has_prefixes: bool = True  # 1.19: conditions of how a keyword starts
    has_memory: bool = True  # 1.19: says where something is to be held
    has_substrings: bool = True  # 1.20: conditions of what a keyword contains
    has_text_scores: bool = True  # 1.20: BM25 by an index of texts

    @classmethod
    def of(cls, version: str) -> ServerFeatures:
        """
        Raises:
            CollectionError: the server is too old.

        >>> ServerFeatures.of("1.19.2").has_prefixes, ServerFeatures.of("1.18.0").has_prefixes
        (True, False)
        """
        numbers = re.match(r"v?(\d+)\.(\d+)", version)
        release = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
        if release < _OLDEST:
            raise CollectionError(
                f"the Qdrant server has version {version or 'unknown'}",
                hint="alm2vec needs 1.16 or later, and 1.20 for all it can",
            )
        return cls(
            has_turbo_codes=release >= (1, 18),
            has_vector_names=release >= (1, 18),
            has_prefixes=release >= (1, 19),
            has_memory=release >= (1, 19),
            has_substrings=release >= (1, 20),
            has_text_scores=release >= (1, 20),
        )


@dataclass(frozen=True, slots=True)
class ClusterLayout:
    """How a new collection lies on the nodes of a cluster. None is as the server does by itself."""

    shard_number: int | None = None  # fixed for good: a multiple of the number of nodes
    replication_factor: int | None = None  # copies of each shard
    write_consistency_factor: int | None = None  # of them that have to have what is acknowledged


def vector_name(aspect: str | None) -> str:
    return PLAIN if aspect is None else f"{_ASPECT}{aspect}"


def vectors(dim: int, features: ServerFeatures) -> dict[str, qdrant.VectorParams]:
    """Cosine, so that a score is one; on the disk until they are compared, as few ever are."""
    return {PLAIN: _on_disk(dim, features)}


def _on_disk(dim: int, features: ServerFeatures) -> qdrant.VectorParams:
    distance = qdrant.Distance.COSINE
    if features.has_memory:
        return qdrant.VectorParams(size=dim, distance=distance, memory=qdrant.Memory.COLD)
    return qdrant.VectorParams(size=dim, distance=distance, on_disk=True)


def aspect_vectors(dim: int) -> qdrant.DenseVectorNameConfig:
    """Of one more aspect. Where they are held, and their codes, is as for the collection."""
    config = qdrant.DenseVectorConfig(size=dim, distance=qdrant.Distance.COSINE)
    return qdrant.DenseVectorNameConfig(dense=config)


def codes(features: ServerFeatures) -> qdrant.QuantizationConfig:
    """What vectors are compared by first, in memory."""
    memory, always = (qdrant.Memory.PINNED, None) if features.has_memory else (None, True)
    if features.has_turbo_codes:
        turbo = qdrant.TurboQuantQuantizationConfig(
            bits=qdrant.TurboQuantBitSize.BITS4, memory=memory, always_ram=always
        )
        return qdrant.TurboQuantization(turbo=turbo)
    scalar = qdrant.ScalarQuantizationConfig(
        type=qdrant.ScalarType.INT8, quantile=0.99, memory=memory, always_ram=always
    )
    return qdrant.ScalarQuantization(scalar=scalar)


def indexes(features: ServerFeatures) -> Mapping[str, qdrant.PayloadSchemaParams]:
    """Of payload fields. They have to be there before the first point, so that graphs heed them."""
    keywords = _keywords()
    prefixes = _keywords(prefix=True) if features.has_prefixes else keywords
    numbers = qdrant.FloatIndexParams(type=qdrant.FloatIndexType.FLOAT)
    return {
        CONTENT_HASH: keywords,
        LIBRARY: qdrant.KeywordIndexParams(type=qdrant.KeywordIndexType.KEYWORD, is_tenant=True),
        PATH: prefixes,
        SILENT: qdrant.IntegerIndexParams(
            type=qdrant.IntegerIndexType.INTEGER, lookup=True, range=False
        ),
        **{NUMBERS[field]: numbers for field in _INDEXED_NUMBERS},
        SOUGHT_PATHS: prefixes,
        SOUGHT_TAGS: prefixes,
        SOUGHT_NAMED: prefixes,
        SOUGHT_WORDS: qdrant.TextIndexParams(
            type=qdrant.TextIndexType.TEXT,
            tokenizer=qdrant.TokenizerType.WORD,
            lowercase=True,
            ascii_folding=True,
            stopwords=qdrant.Language.ENGLISH,
            stemmer=qdrant.SnowballParams(
                type=qdrant.Snowball.SNOWBALL, language=qdrant.SnowballLanguage.ENGLISH
            ),
            scoring=True if features.has_text_scores else None,
        ),
    }


def _keywords(*, prefix: bool | None = None) -> qdrant.KeywordIndexParams:
    return qdrant.KeywordIndexParams(type=qdrant.KeywordIndexType.KEYWORD, prefix=prefix)
