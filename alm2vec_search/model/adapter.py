"""LoRA weights → merged into the model that they were trained on, by peft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peft import LoraConfig, LoraModel, PeftConfig
from peft.utils import set_peft_model_state_dict

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel

NAME = "default"


def merge_lora(model: ALM2VecModel, folder: Path, weights: dict[str, Tensor]) -> None:
    """Add an adapter's low-rank changes to the model's own weights.

    Args:
        folder: of the adapter; its `adapter_config.json` has rank, alpha and variant.
        weights: by our module, peft's kind and ending: `language_model...q_proj.lora_A.weight`.

    Raises:
        ValueError: the adapter isn't LoRA, or its weights don't fit.
    """
    config = PeftConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig):
        raise ValueError(f"the adapter is {config.peft_type}; only LoRA is known")
    # The modules by our names: what the config says of them is in the names of its makers.
    config.target_modules = sorted({name.split(".lora_")[0] for name in weights})
    config.layers_to_transform = None
    config.layers_pattern = None
    config.modules_to_save = None
    config.inference_mode = True
    tuned = LoraModel(model, {NAME: config}, NAME)
    found: Any = set_peft_model_state_dict(
        tuned, {f"model.{name}": tensor for name, tensor in weights.items()}, adapter_name=NAME
    )
    strange = [name for name in found.unexpected_keys if ".lora_" in name]
    without = [name for name in found.missing_keys if ".lora_" in name]
    if strange or without:
        raise ValueError(f"the adapter's weights don't fit: {', '.join(strange + without)[:150]}")
    tuned.merge_and_unload()
