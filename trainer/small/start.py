"""What training starts from: the two bases put together, with classes for men's and women's voices
in the projector."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from alm2vec_search.errors import TrainingError
from alm2vec_search.model.processing_alm2vec import ModelInput
from alm2vec_search.model.projector import SoftWordProjector
from alm2vec_search.model.start import ADAPTER, soft_word
from trainer.small.virtual import Detector
from trainer.small.voices import GENDERS

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
    from alm2vec_search.model.processing_alm2vec import ALM2VecProcessor

PROJECTOR = "audio_projector."


def class_names(config: ALM2VecConfig) -> list[str]:
    """Of a model's detector, in the order of its rows."""
    return [config.id2label[column] for column in range(len(config.id2label))]


def detector_of(model: ALM2VecModel) -> Detector:
    """
    Raises:
        TrainingError: it has none.
    """
    rows = _projector(model).detector
    return Detector(rows.weight.detach(), rows.bias.detach())


def _projector(model: ALM2VecModel) -> SoftWordProjector:
    if not isinstance(model.audio_projector, SoftWordProjector):
        raise TrainingError(
            "the model doesn't say what it hears in words",
            hint="start from what python -m alm2vec_search.model.start writes",
        )
    return model.audio_projector


def write_start(
    untrained: Path, out: Path, model: ALM2VecModel, processor: ALM2VecProcessor, voices: Detector
) -> None:
    """Write a copy of a model's folder that has classes for voices, too.

    Args:
        untrained: the folder, as `alm2vec_search.model.start` writes it.
        model: what is in it.
        voices: of `GENDERS`.

    Raises:
        TrainingError: it has them already.
    """
    names = class_names(model.config)
    if any(voice.label in names for voice in GENDERS.values()):
        raise TrainingError(
            f"{untrained} has classes for voices already",
            hint="start from what python -m alm2vec_search.model.start writes",
        )
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(untrained, out)
    tensors = load_file(out / ADAPTER)
    for name, rows in _rows(model, processor, voices).items():
        whole = tensors[PROJECTOR + name]
        tensors[PROJECTOR + name] = torch.cat([whole, rows.to(whole.dtype)])
    save_file(tensors, out / ADAPTER, metadata={"format": "pt"})
    config = json.loads((out / "config.json").read_bytes())
    for row, voice in enumerate(GENDERS.values(), start=len(names)):
        config["id2label"][str(row)] = voice.label
    config["projector_config"]["num_classes"] = len(config["id2label"])
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def _rows(model: ALM2VecModel, processor: ALM2VecProcessor, voices: Detector) -> dict[str, Tensor]:
    """What the projector's tensors get more, by their names."""
    pieces, used = zip(
        *(_word(voice.said, model, processor) for voice in GENDERS.values()), strict=True
    )
    inputs = [ModelInput(voice.said, None, "") for voice in GENDERS.values()]
    return {
        "detector.weight": voices.weight,
        "detector.bias": voices.bias,
        "words": torch.stack(pieces),
        "words_used": torch.stack(used),
        "relevance.names": model(**processor(inputs)),
    }


def _word(said: str, model: ALM2VecModel, processor: ALM2VecProcessor) -> tuple[Tensor, Tensor]:
    """Pieces [M, H], and which of them are used [M]."""
    embeddings = model.language_model.get_input_embeddings().weight
    pieces = torch.zeros(_projector(model).words.shape[1:])
    found = soft_word(said, processor.tokenizer, embeddings, len(pieces))
    pieces[: len(found)] = found
    return pieces, (torch.arange(len(pieces)) < len(found)).float()
