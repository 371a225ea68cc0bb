"""What mteb is told of a model: what is known of it, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, get_args

from alm2vec_search.model.hub import BUNDLED, SENTENCE_TRANSFORMERS, Layout
from alm2vec_search.model.licences import CONTRADICTORY, card_licence
from alm2vec_search.model.repositories import Repository

if TYPE_CHECKING:
    from mteb.models import ModelMeta

    from alm2vec_search.domain import Encoder
    from alm2vec_search.model.hub import ModelFiles

HERE = "alm2vec-search"  # whose the bundled model is
LOCAL = "local"  # the owner of what is known by its folder only
HUB = "https://huggingface.co"
MB = 1 << 20  # bytes, as mteb counts them
WORD_VECTORS = ("word_embeddings.weight", "embed_tokens.weight")


@dataclass(frozen=True, slots=True)
class Facts:
    """What isn't in a model's files, or not so that a program could read it.

    Attributes:
        licence: by mteb's name.
        languages: as mteb writes them; None is not known.
        training_datasets: tasks of mteb whose data sets it, or its bases, were trained on; None is
            not known.
        public_training_data: whether all of it can be had; None is not known.
        adapted_from: another model, by whose data sets mteb goes, too.
        reference: where it is described.
    """

    licence: str | None = None
    languages: tuple[str, ...] | None = None
    training_datasets: frozenset[str] | None = None
    public_training_data: bool | None = None
    adapted_from: str | None = None
    reference: str | None = None


OF_SMALL = Facts(
    licence="apache-2.0",
    languages=("eng-Latn",),
    # ESC-10, of which four folds were taught, is a part of ESC-50; of AudioCaps the captions were;
    # and YAMNet's detectors are of AudioSet.
    training_datasets=frozenset(
        {
            "AudioCapsA2TRetrieval",
            "AudioCapsT2ARetrieval",
            "AudioSet",
            "AudioSetMini",
            "AudioSetStrongA2TRetrieval",
            "AudioSetStrongT2ARetrieval",
            "ESC50",
            "ESC50AudioReranking",
            "ESC50Clustering",
            "ESC50PairClassification",
            "ESC50_Zeroshot",
        }
    ),
    adapted_from="sentence-transformers/all-MiniLM-L6-v2",
)
# Of the two licences that are said of it, the one that allows less.
OF_ALM2VEC = Facts(licence="cc-by-nc-4.0")


def model_meta(encoder: Encoder, files: ModelFiles | None = None) -> ModelMeta:
    """What mteb is told of an encoder; its revision is the fingerprint.

    A model of sentence-transformers that mteb knows is described as there.

    Args:
        files: of the model; None, where it is made of none.
    """
    from mteb.models import ModelMeta

    name = _name(encoder, files)
    if files is not None and files.layout is Layout.SENTENCE_TRANSFORMERS:
        known = _known_to_mteb(name)
        if known is not None:
            said: dict[str, Any] = {
                "loader": None,
                "loader_kwargs": {},
                "revision": encoder.fingerprint,
            }
            return known.model_copy(update=said)
    facts = _facts(name, files)
    parameters, word_vectors, max_tokens = _sizes(files)
    fields: dict[str, Any] = {
        "loader": None,
        "name": name,
        "revision": encoder.fingerprint,
        "release_date": None,
        "languages": None if facts.languages is None else list(facts.languages),
        "n_parameters": parameters,
        "n_embedding_parameters": word_vectors,
        "memory_usage_mb": None if files is None else round(files.num_bytes / MB),
        "max_tokens": max_tokens,
        "embed_dim": encoder.embedding_dim,
        "license": facts.licence,
        "open_weights": None if files is None else True,
        "public_training_code": None,
        "public_training_data": facts.public_training_data,
        "framework": _frameworks(files),
        "reference": facts.reference,
        "similarity_fn_name": "cosine",
        "use_instructions": encoder.follows_instructions,
        "training_datasets": (
            None if facts.training_datasets is None else set(facts.training_datasets)
        ),
        "adapted_from": facts.adapted_from,
        "modalities": ["audio", "text"],
    }
    return ModelMeta.model_validate(fields)


def _name(encoder: Encoder, files: ModelFiles | None) -> str:
    """As mteb wants it: `owner/name`."""
    plain = encoder.name.removeprefix(SENTENCE_TRANSFORMERS)
    if plain == BUNDLED:
        return f"{HERE}/{plain}"
    repository = Repository.parse(plain)
    if repository is not None and files is not None:
        return repository.repo_id
    if files is not None and files.halves:  # asr:openai/whisper+BAAI/bge → asr-whisper+bge
        halves = "+".join(PurePath(half.name).name for half in files.halves)
        return f"{LOCAL}/asr-{halves}"
    return f"{LOCAL}/{PurePath(plain).name}"


def _facts(name: str, files: ModelFiles | None) -> Facts:
    if name == f"{HERE}/{BUNDLED}":
        return OF_SMALL
    reference = None if name.startswith(f"{LOCAL}/") else f"{HUB}/{name}"
    if name in CONTRADICTORY:
        return replace(OF_ALM2VEC, reference=reference)
    licence = None if files is None else _licence(files)
    return Facts(licence=licence, reference=reference)


def _licence(files: ModelFiles) -> str | None:
    """What its card says, where mteb has a name for it."""
    from mteb.types import Licenses

    said = (card_licence(files.folder) or "").lower()
    return said if said in get_args(Licenses) else None


def _sizes(files: ModelFiles | None) -> tuple[int | None, int | None, int | None]:
    """Parameters, those of word vectors, and the most tokens; None is not known."""
    if files is None or not files.is_described:
        return None, None, None
    description = files.description
    word_vectors = [t.size for n, t in description.tensors.items() if n.endswith(WORD_VECTORS)]
    return (
        sum(description.sizes().values()),
        sum(word_vectors) or None,
        description.fields.get("max_tokens"),
    )


def _frameworks(files: ModelFiles | None) -> list[str]:
    if files is None:
        return []
    if files.layout in (Layout.SENTENCE_TRANSFORMERS, Layout.CASCADE):
        return ["Sentence Transformers", "PyTorch", "safetensors"]
    return ["PyTorch", "Transformers", "safetensors"]


def _known_to_mteb(name: str) -> ModelMeta | None:
    from mteb import get_model_meta

    try:
        return get_model_meta(name, fetch_from_hf=False)
    except (KeyError, ValueError):
        return None
