"""What a training run is made of, as one file of TOML: `configs/train/` has examples.

Paths are relative to the file that names them. Everything has a default but the model, the data and
where the run goes.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Strict,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from alm2vec_search.errors import ConfigError
from alm2vec_search.model.hub import BUNDLED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RECALLS = (1, 5, 10)
Metric = Literal[
    "r@1_q2d", "r@5_q2d", "r@10_q2d", "mrr_q2d", "r@1_d2q", "r@5_d2q", "r@10_d2q", "mrr_d2q"
]
# What may be another when a run is resumed: where it lies, and what changes nothing that is learnt.
FREE_ON_RESUME = frozenset({"run.out", "run.workers", "run.save_every", "run.keep"})
HINT = "alm2vec train --help explains the file; configs/train/ has examples"


def _located(path: Path, info: ValidationInfo) -> Path:
    """From the folder of the file that says it."""
    folder: Path = (info.context or {}).get("folder", Path())
    return Path(os.path.abspath(folder / path.expanduser()))


def _located_model(name: str, info: ValidationInfo) -> str:
    """A folder from where the file lies; any other name as it is."""
    if name == BUNDLED:
        return name
    path = _located(Path(name), info)
    return str(path) if name.startswith((".", "~")) or path.is_dir() else name


FilePath = Annotated[Path, AfterValidator(_located)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[PositiveFloat, AllowInfNan(False), Strict()]
Count = Annotated[PositiveInt, Strict()]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(_Section):
    """What is trained."""

    base: Annotated[str, AfterValidator(_located_model)] = Field(
        description="What training starts from: small, a model's folder, or owner/name of a hub. "
        "From an adapter's folder, its training goes on.",
    )
    projector: Literal["frozen", "trained"] = Field(
        default="frozen",
        description="Between audio encoder and language model; the paper trains LoRA alone.",
    )
    detector: Literal["frozen", "trained"] = Field(
        default="frozen",
        description="Of the small model's projector, what finds its named sounds; trained only "
        "where the projector is.",
    )


class LoraSection(_Section):
    """The low-rank change to the language model's queries, keys and values."""

    r: Count = Field(default=16, description="Its rank.")
    alpha: Count = Field(default=32, description="It is scaled by alpha / r.")
    dropout: Share = Field(default=0.05, description="Of what goes into it.")


class DataSource(_Section):
    """A file of pairs."""

    pairs: FilePath = Field(description="The file; `alm2vec train prepare` writes such.")
    weight: Rate | None = Field(
        default=None,
        description="How often it is drawn from, against the others: for all of them, or for none. "
        "By default the square root of its size.",
    )
    missing: Literal["error", "skip"] = Field(
        default="error", description="What to do about pairs whose audio can't be had."
    )


class HeldOutSection(_Section):
    """Pairs that aren't learnt from, to measure by."""

    pairs: FilePath = Field(description="The file.")
    every: Count = Field(default=100, description="Steps from one measurement to the next.")
    metric: Metric = Field(default="mrr_q2d", description="By which the best checkpoint is chosen.")
    missing: Literal["error", "skip"] = Field(
        default="error", description="What to do about pairs whose audio can't be had."
    )


class LossSection(_Section):
    """The contrastive loss; `trainer/losses.py` is the page on it."""

    temperature: Rate = Field(default=0.07, description="At the start.")
    learn_temperature: bool = Field(default=True, description="Or else it stays so.")
    max_scale: Annotated[Rate, Field(ge=1)] = Field(
        default=100.0, description="The temperature is never less than 1 / max_scale."
    )
    mask: Literal["relative", "absolute", "none"] = Field(
        default="relative",
        description="Which negatives are too similar to be negatives: those above their positive "
        "by more than the margin, or above the threshold.",
    )
    margin: Annotated[float, AllowInfNan(False)] = Field(
        default=0.1, description="Of the relative mask."
    )
    threshold: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        default=None, description="Of the absolute mask, a cosine."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> LossSection:
        if (self.mask == "absolute") != (self.threshold is not None):
            raise ValueError('the mask "absolute" and a threshold go together')
        if self.temperature > 1 or self.temperature * self.max_scale < 1 - 1e-9:
            raise ValueError(
                f"a temperature of {self.temperature:g} is not from {1 / self.max_scale:g} to 1"
            )
        return self


class OptimiserSection(_Section):
    """AdamW; the rate goes up in a line, and down in a cosine."""

    steps: Count = Field(description="Batches to learn from.")
    batch_size: Annotated[int, Field(ge=2), Strict()] = Field(
        description="Pairs in a batch, of all devices together: each is a negative of the others."
    )
    mini_batch_size: Count = Field(
        default=32,
        description="Inputs that go through the model at once, on a device: what fits there.",
    )
    gradient_cache: bool = Field(
        default=True,
        description="Each mini-batch goes through twice, so that memory need only hold one. "
        "Without it training is faster, and memory must hold the whole batch.",
    )
    learning_rate: Rate = Field(default=1e-4, description="After the warm-up.")
    projector_learning_rate: Rate | None = Field(
        default=None, description="Of the projector, where it has its own."
    )
    min_learning_rate: Annotated[NonNegativeFloat, AllowInfNan(False)] = Field(
        default=1e-5, description="Of the last step."
    )
    warmup_steps: NonNegativeInt = Field(
        default=500,
        description="Until the full rate is reached. By default a tenth of the steps, at most 500.",
    )
    weight_decay: Annotated[NonNegativeFloat, AllowInfNan(False)] = Field(
        default=0.001, description="Of matrices; norms, biases and the temperature don't decay."
    )
    max_grad_norm: Rate = Field(default=1.0, description="Longer gradients are shortened to it.")

    @model_validator(mode="before")
    @classmethod
    def _warm_up_in_time(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "warmup_steps" in given:
            return given
        steps = given.get("steps")
        return given | {"warmup_steps": min(500, steps // 10)} if isinstance(steps, int) else given

    @model_validator(mode="after")
    def _makes_sense(self) -> OptimiserSection:
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate, {self.min_learning_rate:g}, is above learning_rate, "
                f"{self.learning_rate:g}"
            )
        return self


class AudioSection(_Section):
    """What is heard."""

    max_audio_s: Rate | None = Field(
        default=None,
        description="The most of a sound, in seconds; of longer ones a stretch is drawn each time. "
        "By default as much as the model hears.",
    )
    cache_frames: FilePath | None = Field(
        default=None,
        description="A folder that keeps what the audio encoder makes of each sound, so that it "
        "runs once. By default sounds are decoded and encoded each time.",
    )


class RunSection(_Section):
    """The run itself."""

    out: FilePath = Field(description="Its folder.")
    seed: NonNegativeInt = Field(default=0, description="Of all that is drawn.")
    log_every: Count = Field(default=10, description="Steps from one line of metrics to the next.")
    save_every: Count = Field(default=100, description="Steps from one checkpoint to the next.")
    keep: Count = Field(
        default=2,
        description="Checkpoints that are kept; the best and the last are always among them.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Of the frozen weights and of computing; auto is bfloat16 on a GPU.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto is the GPU, if there is one."
    )
    workers: Annotated[NonNegativeInt, Strict()] | None = Field(
        default=None,
        description="Processes that prepare batches, on each device. By default none on a CPU, or "
        "where frames are cached, and else one for each core, up to 8.",
    )


class TrainConfig(_Section):
    """A training run."""

    model: ModelSection
    data: tuple[DataSource, ...] = Field(min_length=1)
    lora: LoraSection = LoraSection()
    held_out: HeldOutSection | None = None
    loss: LossSection = LossSection()
    optimiser: OptimiserSection
    audio: AudioSection = AudioSection()
    run: RunSection

    @model_validator(mode="after")
    def _makes_sense(self) -> TrainConfig:
        without = sum(source.weight is None for source in self.data)
        if 0 < without < len(self.data):
            raise ValueError("data: give a weight to all files of pairs, or to none")
        return self

    def resolved(self) -> dict[str, Any]:
        """All of it as plain values, without what isn't set."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        """As a file that `read_config` reads, wherever it lies: paths are absolute."""
        return "\n".join(_toml_lines(self.resolved())) + "\n"

    def differences(self, other: TrainConfig) -> list[str]:
        """The keys that a resumed run may not change, and in which another differs."""
        ours, theirs = dict(_flat(self.resolved())), dict(_flat(other.resolved()))
        keys = dict.fromkeys([*ours, *theirs])
        return [k for k in keys if ours.get(k) != theirs.get(k) and k not in FREE_ON_RESUME]


def read_config(path: Path, changes: Sequence[str] = (), *, out: Path | None = None) -> TrainConfig:
    """The file of a run.

    Args:
        changes: `key=value`s that win over the file: dotted keys, values as TOML has them or plain
            words, `optimiser.steps=10`, `data.0.weight=2`.
        out: wins over `run.out`; relative to where one stands.

    Raises:
        ConfigError: the file can't be read, or a value can't be used; names both.
    """
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path} can't be read: {error.strerror}", hint="--config names the file of a run"
        ) from error
    except ValueError as error:  # no UTF-8, or no TOML
        raise ConfigError(f"{path} is no TOML: {error}", hint=HINT) from error
    for change in changes:
        _change(written, change)
    if out is not None:
        _change_to(written, ["run", "out"], str(out.expanduser().absolute()), "--out")
    try:
        return TrainConfig.model_validate(written, context={"folder": path.absolute().parent})
    except ValidationError as error:
        raise _explained(error, path) from error


def _explained(error: ValidationError, path: Path) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    message, given, hint = first["msg"].removeprefix("Value error, "), "", HINT
    if first["type"] == "extra_forbidden":
        message = "there is no such setting"
        hint = f"there are {', '.join(_known_beside(first['loc']))}"
    elif first["type"] == "missing":
        message = "is needed"
        hint = "--out names the folder of a run" if key in ("run", "run.out") else HINT
    elif not isinstance(first["input"], dict | list) and first["type"] != "value_error":
        given = f" (given: {first['input']!r})"
    return ConfigError(f"{path}: {key + ': ' if key else ''}{message}{given}", hint=hint)


def _known_beside(place: tuple[int | str, ...]) -> list[str]:
    """The settings that there are where somebody wrote another."""
    known: Any = TrainConfig
    for name in place[:-1]:
        if isinstance(name, str):
            annotation = known.model_fields[name].annotation
            inner = [kind for kind in (annotation, *get_args(annotation)) if _is_section(kind)]
            known = inner[0]
    return list(known.model_fields)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, _Section)


def _change(written: dict[str, Any], change: str) -> None:
    """Put one `key=value` into what a file says."""
    key, equals, text = change.partition("=")
    keys = [part.strip() for part in key.split(".")]
    if not equals or not all(keys):
        raise ConfigError(
            f"--set {change}: no key=value", hint="for instance --set optimiser.steps=10"
        )
    _change_to(written, keys, _value(text.strip()), f"--set {change}")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # words that aren't in quotes


def _change_to(written: dict[str, Any], keys: list[str], value: Any, said: str) -> None:
    place: Any = written
    for depth, key in enumerate(keys):
        is_last = depth == len(keys) - 1
        if isinstance(place, list) and key.isdecimal() and int(key) < len(place):
            here: Any = int(key)
        elif isinstance(place, dict):
            here = key
        else:
            raise ConfigError(f"{said}: there is no {'.'.join(keys[: depth + 1])}", hint=HINT)
        if is_last:
            place[here] = value
        else:
            place = place.setdefault(here, {}) if isinstance(place, dict) else place[here]


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by their dotted keys."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{key}.{number}")
    else:
        yield key, value


def _toml_lines(sections: Mapping[str, Any]) -> Iterator[str]:
    for name, section in sections.items():
        is_array = isinstance(section, list)
        for table in section if is_array else [section]:
            if table:
                yield f"[[{name}]]" if is_array else f"[{name}]"
                yield from (f"{key} = {_toml(value)}" for key, value in table.items())
                yield ""


def _toml(value: Any) -> str:
    """A plain value; strings of JSON are strings of TOML, but for one character."""
    if isinstance(value, float) and value.is_integer():
        return f"{value:.1f}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return json.dumps(value)
