"""What our classes need to know to load a model: fields of the config, and where each tensor lies.

One shape for every layout: our own folders, published checkpoints, and LoRA adapters over either.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from alm2vec_search.model.published import FRONT_END_BUFFERS, our_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alm2vec_search.model.checkpoint import StoredTensor
    from alm2vec_search.model.published import PublishedCheckpoint

LORA = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector")
PEFT_PREFIX = "base_model.model."
AN_ADAPTER_MAY_SET = (
    "pooling",
    "prompt",
    "query_instruction",
    "document_instruction",
    "max_tokens",
    "max_audio_s",
)
PARTS = ("audio_encoder", "audio_projector", "language_model", "projection")


@dataclass(frozen=True, slots=True)
class Description:
    """A model as our classes would load it.

    Args:
        fields: of `ALM2VecConfig`.
        tensors: by our names.
        front_end: what the checkpoint keeps of the audio front end, by our names of the buffers. We
            compute these; what is kept must agree.
        lora: by our name of the module that they change, and what they are to it: `lora_A.weight`.
    """

    fields: dict[str, Any]
    tensors: dict[str, StoredTensor]
    front_end: dict[str, StoredTensor] = field(default_factory=dict)
    lora: dict[str, StoredTensor] = field(default_factory=dict)

    @property
    def hidden_size(self) -> int:
        """Of the language model."""
        return int(self.fields["text_config"]["hidden_size"])

    @property
    def embedding_dim(self) -> int:
        """Of its vectors."""
        return int(self.fields.get("embedding_dim") or self.hidden_size)

    def bytes_in_memory(self, dtype: str) -> int:
        """Of its weights, once they are loaded to compute in a numeric type."""
        itemsize = {"float32": 4, "bfloat16": 2}[dtype]
        sizes = self.sizes()
        reduced = ["audio_encoder"]
        if self.fields.get("reduced") == "all":
            reduced += ["audio_projector", "language_model"]
        return sum(n * (itemsize if part in reduced else 4) for part, n in sizes.items())

    def sizes(self) -> dict[str, int]:
        """How many parameters each part has."""
        return {
            part: sum(
                tensor.size
                for name, tensor in self.tensors.items()
                if name.startswith(part + ".") and not name.endswith("num_batches_tracked")
            )
            for part in PARTS
        }


def describe_ours(config: dict[str, Any], tensors: dict[str, StoredTensor]) -> Description:
    """A folder that we wrote: names and fields are ours already."""
    return Description(config, tensors)


def describe_published(checkpoint: PublishedCheckpoint) -> Description:
    """A published checkpoint.

    Raises:
        ValueError: the config speaks of what we don't have, or contradicts the tensors.
    """
    tensors: dict[str, StoredTensor] = {}
    front_end: dict[str, StoredTensor] = {}
    for stored, tensor in checkpoint.tensors.items():
        ours = checkpoint.rename(stored)
        ending = stored.removeprefix(checkpoint.prefix + "audio_encoder.front_end.")
        if ours is not None:
            tensors[ours] = tensor
        elif ending in FRONT_END_BUFFERS:
            front_end[FRONT_END_BUFFERS[ending]] = tensor
    return Description(checkpoint.our_config(), tensors, front_end)


def describe_adapter(
    base: Description, config: Mapping[str, Any], tensors: dict[str, StoredTensor]
) -> Description:
    """A base with what an adapter's folder puts over it: LoRA weights, and any tensors trained
    whole, such as a projection.

    Raises:
        ValueError: a tensor has no place in the base.
    """
    fields = {
        **base.fields,
        **{name: config[name] for name in AN_ADAPTER_MAY_SET if name in config},
    }
    whole = dict(base.tensors)
    lora: dict[str, StoredTensor] = {}
    for stored, tensor in tensors.items():
        name = stored.removeprefix(PEFT_PREFIX)
        module, kind = _split_lora(name)
        if kind:
            lora[f"{_place(module, base)}.{kind}"] = tensor
            continue
        ours = our_name(name)
        if ours in base.tensors:
            whole[ours] = tensor
        elif len(tensor.shape) == 2 and tensor.shape[1] == base.hidden_size:
            whole["projection.weight"] = tensor
            fields["embedding_dim"] = tensor.shape[0]
        elif tensor.size > 1:  # a single number is a temperature, of use in training only
            raise ValueError(f"{stored} of the adapter has no place in its base")
    if not lora and whole == base.tensors:
        raise ValueError("the adapter holds nothing that its base has a place for")
    return replace(base, fields=fields, tensors=whole, lora=lora)


def _split_lora(name: str) -> tuple[str, str]:
    """The module that a tensor changes and what it is to it; or neither, for other tensors.

    >>> _split_lora("layers.0.q_proj.lora_A.default.weight")
    ('layers.0.q_proj', 'lora_A.weight')
    >>> _split_lora("layers.0.q_proj.lora_magnitude_vector")
    ('layers.0.q_proj', 'lora_magnitude_vector')
    >>> _split_lora("projection.weight")
    ('', '')
    """
    parts = name.split(".")
    kind = next((part for part in parts if part in LORA), None)
    if kind is None:
        return "", ""
    place = parts.index(kind)
    ending = [parts[-1]] if place < len(parts) - 1 else []
    return ".".join(parts[:place]), ".".join([kind, *ending])


def _place(module: str, base: Description) -> str:
    """The module of ours that an adapter's weights belong to, whichever part it was trained on: the
    whole model, by either naming, or the decoder alone, with or without its head.

    Raises:
        ValueError: there is none.
    """
    candidates = (
        module,
        our_name(module) or "",
        f"language_model.{module.removeprefix('model.')}",
    )
    for candidate in candidates:
        if f"{candidate}.weight" in base.tensors:
            return candidate
    raise ValueError(f"the adapter changes {module}, which its base doesn't have")
