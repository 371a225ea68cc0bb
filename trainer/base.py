"""What training starts from: a model, or an adapter whose training goes on.

An adapter over another model goes on as what it is: its low-rank matrices are trained further, and
what comes of it lies over the same model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from alm2vec_search.errors import ModelError, TrainingError
from alm2vec_search.model.adapter import NAME
from alm2vec_search.model.checkpoint import read_json
from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.hub import Layout, ModelFiles
from alm2vec_search.model.loading import explained, load_model, opened
from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
from alm2vec_search.model.processing_alm2vec import ALM2VecProcessor, load_tokenizer
from alm2vec_search.model.repositories import Repository
from alm2vec_search.wiring import fetch_model
from trainer.adapter import CONFIG, add_lora, save_adapter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from alm2vec_search.model.description import Description
    from trainer.config import TrainConfig

NAMED = 3  # of tensors, before the rest is only counted
PLAIN = {"use_dora": False, "use_rslora": False, "bias": "none"}  # what goes on being trained


@dataclass(frozen=True)
class _WithoutLora(ModelFiles):
    """An adapter's folder as a model, but for its low-rank changes, which are trained further."""

    @cached_property
    def description(self) -> Description:
        return replace(super().description, lora={})


@dataclass(frozen=True)
class Base:
    """What training starts from."""

    files: ModelFiles  # as its name leads to it: a model, or an adapter over one

    @property
    def under(self) -> ModelFiles:
        """The model that what is trained will lie over."""
        return self.files.base or self.files

    @property
    def adapter(self) -> Path | None:
        """The folder of the adapter that goes on, if it is one."""
        return self.files.folder if self.files.layout is Layout.ADAPTER else None

    @property
    def start(self) -> ModelFiles:
        """What is loaded before low-rank changes go in."""
        if self.adapter is None:
            return self.files
        return _WithoutLora(self.files.name, self.files.folder, Layout.ADAPTER, self.files.base)

    @property
    def config(self) -> ALM2VecConfig:
        """Of the model."""
        with explained(self.files):
            config: ALM2VecConfig = ALM2VecConfig.from_dict(self.start.description.fields)
        return config

    def inherited(self) -> dict[str, Tensor]:
        """What the adapter has trained, by our names of the parameters; nothing where it is none.

        LoRA's as `add_lora` calls them: `...q_proj.lora_A.default.weight`.
        """
        if self.adapter is None:
            return {}
        description = self.files.description
        lora = {
            f"{module}.{NAME}.{ending}": tensor
            for name, tensor in description.lora.items()
            for module, _, ending in [name.rpartition(".")]
        }
        whole = {
            name: tensor
            for name, tensor in description.tensors.items()
            if tensor.file.parent == self.adapter
        }
        with opened(lora | whole) as views:
            return {name: view[...].float() for name, view in views.items()}


def find_base(config: TrainConfig, announce: Callable[[str], None]) -> Base:
    """The model that a run starts from, fetched where it is of a hub; nothing is loaded.

    Raises:
        ModelError: there is no such model, or it can't be fetched.
        TrainingError: it can't be trained here, or its training can't go on with these settings.
    """
    base = Base(fetch_model(config.model.base, announce))
    if not base.files.is_described:
        raise TrainingError(
            f"{config.model.base} is no model of ours to train",
            hint="train small, MiDashengLM, ALM2Vec, or what was trained from these",
        )
    if base.adapter is not None:
        _require_same_lora(read_json(base.adapter / CONFIG), base.adapter, config)
    return base


def _require_same_lora(said: Mapping[str, Any], folder: Path, config: TrainConfig) -> None:
    wanted = {"r": config.lora.r, "lora_alpha": config.lora.alpha, **PLAIN}
    for name, value in wanted.items():
        found = said.get(name, value)
        if found != value:
            raise TrainingError(
                f"the adapter in {folder} has {name} {found}, and the run would have {value}",
                hint="set [lora] as it has it, or start from a merged model: "
                "alm2vec train export --merged",
            )


def skeleton(base: Base, config: TrainConfig) -> ALM2VecModel:
    """The model to be trained, without any weights: what it is made of, and what is trained of it.

    Raises:
        ModelError: its config makes no sense.
        TrainingError: it can't be trained; or the adapter that goes on has trained what the run
            would leave as it is in the model under it.
    """
    with explained(base.files), torch.device("meta"):
        model = ALM2VecModel(base.config)
    make_trainable(model, config)
    trained = {name: p.shape for name, p in model.named_parameters() if p.requires_grad}
    if base.adapter is not None:
        _require_it_can_go_on(base, trained)
    return model


def make_trainable(model: ALM2VecModel, config: TrainConfig) -> None:
    """Put in LoRA, and freeze what isn't trained, as the settings have it."""
    add_lora(
        model,
        config.lora.r,
        config.lora.alpha,
        config.lora.dropout,
        train_projector=config.model.projector == "trained",
    )
    detector = getattr(model.audio_projector, "detector", None)
    if detector is not None and config.model.detector == "frozen":
        detector.requires_grad_(False)


def _require_it_can_go_on(base: Base, trained: Mapping[str, torch.Size]) -> None:
    inherited = {name: tensor.shape for name, tensor in base.inherited().items()}
    left_out = [name for name, shape in inherited.items() if trained.get(name) != shape]
    new = [name for name in trained if ".lora_" in name and name not in inherited]
    if odd := left_out + new:
        more = f" and {len(odd) - NAMED} more" if len(odd) > NAMED else ""
        raise TrainingError(
            f"the adapter in {base.adapter} and the run don't train the same: "
            f"{', '.join(odd[:NAMED])}{more}",
            hint="set projector and detector as it had them, or start from a merged model: "
            "alm2vec train export --merged",
        )


def load_base(base: Base, config: TrainConfig, dtype: torch.dtype, device: str) -> ALM2VecModel:
    """The model, ready to be trained, on its device. What is drawn comes from torch's generator.

    Raises:
        ModelError: the weights can't be read, or the device has no room.
        TrainingError: it can't be trained.
    """
    model = load_model(base.start, dtype, device)
    make_trainable(model, config)
    put_in(model, base.inherited())
    return model


def put_in(model: ALM2VecModel, tensors: Mapping[str, Tensor]) -> None:
    """Give parameters their values, whatever they had: none, in a skeleton.

    Raises:
        ModelError: one has no place in the model.
    """
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        there = parameters.get(name)
        if there is None or there.shape != tensor.shape:
            raise ModelError(f"{name} {list(tensor.shape)} has no place in the model")
        module, _, own_name = name.rpartition(".")
        values = tensor.to(there.dtype) if there.is_meta else tensor.to(there)
        weights = torch.nn.Parameter(values, requires_grad=there.requires_grad)
        setattr(model.get_submodule(module), own_name, weights)


def build_processor(base: Base, model: ALM2VecModel) -> ALM2VecProcessor:
    """What writes inputs down for the model, with as little of it as goes to other processes.

    Args:
        model: its skeleton.

    Raises:
        ModelError: the tokenizer can't be read.
    """
    with explained(base.files):
        return ALM2VecProcessor(
            load_tokenizer(base.files.tokenizer_folder),
            model.config,
            model.count_audio_tokens,
            model.count_frame_tokens,
        )


def save_over(base: Base, model: ALM2VecModel, folder: Path) -> None:
    """Write what was trained as an adapter over the model under it: see `save_adapter`."""
    name, revision = base.under.name, None
    repository = Repository.parse(name)
    if repository is not None and not Path(name).is_dir():
        name, revision = repository.repo_id, repository.revision
    save_adapter(model, folder, base=name, revision=revision)


def read_trained(file: Path) -> dict[str, Tensor]:
    """What a checkpoint keeps of the model.

    Raises:
        TrainingError: it can't be read.
    """
    try:
        return load_file(file)
    except Exception as error:  # of safetensors, and of the operating system
        raise TrainingError(f"{file} can't be read: {error}", hint="take another one") from error
