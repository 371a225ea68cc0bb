"""What of a model is trained, and how it is kept: LoRA on the language model, a few parts whole.

LoRA (Hu et al., 2021, arXiv 2106.09685) adds to a frozen matrix W the product of two narrow ones,
W + α/r · B·A, of which B starts at zero, so that training starts from the model as it is. Here as
in the paper of ALM2Vec it goes to the language model's queries, keys and values. The audio encoder
is frozen; the head after the pooling is trained, and the projector where it is wanted.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import nn

from alm2vec_search.errors import TrainingError
from alm2vec_search.model.adapter import NAME
from alm2vec_search.model.description import AN_ADAPTER_MAY_SET, PARTS, PEFT_PREFIX
from trainer.whole import whole_folder

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel

QUERIES_KEYS_VALUES = (("q_proj", "k_proj", "v_proj"), ("query", "key", "value"))

CONFIG = "adapter_config.json"
LORA_WEIGHTS = "adapter_model.safetensors"
WHOLE_WEIGHTS = "trained_modules.safetensors"
OVER_THE_BASE = "config.json"


@dataclass(frozen=True, slots=True)
class TrainableParameters:
    """How much of a model is trained."""

    parts: dict[str, int]  # numbers trained of each of the model's parts, where there are any
    total: int  # numbers in all, trained or not

    @property
    def trained(self) -> int:
        """Numbers trained."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{n:,} of {part}" for part, n in self.parts.items())
        share = 100 * self.trained / self.total
        return f"{self.trained:,} of {self.total:,} parameters ({share:.2g} %): {parts or 'none'}"


def add_lora(
    model: ALM2VecModel,
    r: int = 16,
    alpha: int = 32,
    dropout: float = 0.05,
    *,
    train_projector: bool = False,
) -> None:
    """Make a model ready to be trained, in place: LoRA goes in, the rest is frozen but the head.

    What is trained is kept in float32, whatever the model computes in.

    Args:
        r: rank of the change to each matrix.
        alpha: it is scaled by alpha / r.
        dropout: of what goes into it.
        train_projector: whether the projector is trained, too.

    Raises:
        TrainingError: the language model has no queries, keys and values that are known here, or
            the model has an adapter already.
    """
    if any(isinstance(module, LoraLayer) for module in model.modules()):
        raise TrainingError("the model has an adapter already", hint="merge it first")
    targets = "|".join(_queries_keys_values(model.language_model))
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=rf"language_model\.(.*\.)?({targets})",
    )
    model.requires_grad_(False)
    inject_adapter_in_model(config, model, NAME)
    model.projection.requires_grad_(True)
    model.audio_projector.requires_grad_(train_projector)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    keep_in_eval_mode(model.audio_encoder)


def _queries_keys_values(language_model: nn.Module) -> tuple[str, ...]:
    """What its linear layers for queries, keys and values are called.

    Raises:
        TrainingError: something that isn't known here.
    """
    linear = {
        name.rpartition(".")[2]
        for name, module in language_model.named_modules()
        if isinstance(module, nn.Linear)
    }
    for names in QUERIES_KEYS_VALUES:
        if linear.issuperset(names):
            return names
    known = " or ".join(", ".join(names) for names in QUERIES_KEYS_VALUES)
    raise TrainingError(
        f"the language model has no {known}: its linear layers are {', '.join(sorted(linear))}",
        hint="LoRA is known for language models built as Qwen or BERT",
    )


def keep_in_eval_mode(module: nn.Module) -> None:
    """A frozen part stays in eval mode, whatever mode the model that it is in goes to.

    Its norms would otherwise go by the batch, and learn from it.
    """
    module.train = MethodType(_stay_in_eval_mode, module)  # type: ignore[method-assign]
    module.train()


def _stay_in_eval_mode(module: nn.Module, mode: bool = True) -> nn.Module:
    return nn.Module.train(module, False)


def trainable_parameters(model: nn.Module) -> TrainableParameters:
    """What is trained of a model, by its parts."""
    parts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = name.partition(".")[0]
            parts[part] = parts.get(part, 0) + parameter.numel()
    ordered = {part: parts.pop(part) for part in PARTS if part in parts} | parts
    return TrainableParameters(ordered, sum(weights.numel() for weights in model.parameters()))


def save_adapter(
    model: ALM2VecModel, folder: Path, *, base: str, revision: str | None = None
) -> None:
    """Write what was trained as a folder that is a model: `alm2vec --model FOLDER`.

    It is there whole or not at all. An adapter that is there already makes room, and what else lies
    in its folder stays.

    Args:
        model: after `add_lora`.
        base: the model under it, as `find_model` finds it: a name, a folder (which may be relative
            to this one).
        revision: of the base, where it is one of a hub.

    Raises:
        TrainingError: the folder holds something else, or can't be written; or the model has no
            adapter.
    """
    config = getattr(model, "peft_config", {}).get(NAME)
    if config is None:
        raise TrainingError("the model has no adapter to save", hint="add_lora gives it one")
    lora, whole = trained_tensors(model)
    config = copy.deepcopy(config)
    config.base_model_name_or_path = base
    config.revision = revision
    config.inference_mode = True
    may_differ = {name: getattr(model.config, name) for name in AN_ADAPTER_MAY_SET}
    _require_room_for_adapter(folder)
    with whole_folder(folder) as unfinished:
        (unfinished / WHOLE_WEIGHTS).unlink(missing_ok=True)
        config.save_pretrained(str(unfinished))
        save_file(lora, unfinished / LORA_WEIGHTS, metadata={"format": "pt"})
        if whole:
            save_file(whole, unfinished / WHOLE_WEIGHTS, metadata={"format": "pt"})
        for path in unfinished.glob("*.safetensors"):
            path.chmod(0o644)
        (unfinished / OVER_THE_BASE).write_text(json.dumps(may_differ, indent=2) + "\n")


def trained_tensors(model: ALM2VecModel) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What was trained, by the names that an adapter's folder has for it: LoRA, and parts whole."""
    lora: dict[str, Tensor] = {}
    whole: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = lora if ".lora_" in name else whole
            stored = PEFT_PREFIX + name.replace(f".{NAME}.", ".")
            kind[stored] = parameter.detach().cpu().contiguous()
    return lora, whole


def _require_room_for_adapter(folder: Path) -> None:
    """
    Raises:
        TrainingError: the folder holds something else than an adapter.
    """
    if folder.exists() and not (folder / CONFIG).is_file():
        if not folder.is_dir() or any(folder.iterdir()):
            raise TrainingError(
                f"{folder} is there already, and holds no adapter",
                hint="choose another folder, or move it away",
            )
