"""What a run is going to do, checked before anything is loaded: a run that can't work fails within
seconds, and not after an hour."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from alm2vec_search.errors import TrainingError
from alm2vec_search.terminal import counted, shown
from trainer.adapter import TrainableParameters, trainable_parameters
from trainer.base import Base, find_base, skeleton
from trainer.data import Checked, PairFile, check, sounds_of
from trainer.export import require_same_base
from trainer.mixture import Mixture
from trainer.run import Run, num_processes, open_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
    from trainer.config import TrainConfig
    from trainer.pairs import Pair

EXTRAS = ("tensorboard", "matplotlib")


@dataclass(frozen=True)
class Plan:
    """A run that was checked and can begin."""

    config: TrainConfig
    run: Run
    base: Base
    sources: tuple[Checked, ...]
    held_out: Checked | None
    mixture: Mixture
    skeleton: ALM2VecModel  # what is trained, without weights
    changed: dict[str, str]  # files of pairs, since the run was started, and their sha256 then
    warnings: tuple[str, ...]

    @property
    def parameters(self) -> TrainableParameters:
        """How much of the model is trained."""
        return trainable_parameters(self.skeleton)

    def lines(self) -> Iterator[str]:
        """For people."""
        config, optimiser = self.config, self.config.optimiser
        yield f"{config.model.base}, of which are trained {self.parameters}"
        drawn = self.mixture.drawn(len(self.mixture))
        for source, count, share in zip(
            self.sources, drawn.tolist(), self.mixture.proportions, strict=True
        ):
            yield (
                f"{_described(source)}: {100 * share:.3g} % of each batch, "
                f"{count / len(source.file):.3g} times round"
            )
        if self.held_out is not None:
            yield f"held out: {_described(self.held_out)}"
        yield (
            f"{counted(optimiser.steps, 'step')} of {optimiser.batch_size:,} pairs, "
            f"{optimiser.mini_batch_size:,} inputs at a time"
            + (f", on {num_processes()} devices" if num_processes() > 1 else "")
        )
        yield f"into {shown(self.run.folder)}" + (
            f", from step {self.run.step:,} on" if self.run.checkpoint else ""
        )


def plan(
    config: TrainConfig,
    *,
    resume: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> Plan:
    """Check all that can be checked before the model is loaded; nothing is written.

    Args:
        announce: is told what is fetched.

    Raises:
        TrainingError: what draws the curves isn't installed, the batch can't be shared by the
            devices, the folder holds another run, a file of pairs can't be used, or the base can't
            be trained.
        ModelError: there is no such base.
    """
    require_extras()
    n_devices, batch_size = num_processes(), config.optimiser.batch_size
    if batch_size % n_devices:
        raise TrainingError(
            f"a batch of {batch_size} can't be shared by {n_devices} devices",
            hint=f"make optimiser.batch_size a multiple of {n_devices}",
        )
    run = open_run(config, resume=resume)
    base = find_base(config, announce)
    model = skeleton(base, config)
    sources = tuple(check(PairFile(s.pairs), s.missing) for s in config.data)
    held_out = None
    if config.held_out is not None:
        held_out = check(PairFile(config.held_out.pairs), config.held_out.missing)
    changed = _changed_since(run, base, [*sources, *filter(None, [held_out])])
    mixture = mixture_of([source.file for source in sources], config)
    warnings = (*_warnings_of_change(changed), *_warnings(config, sources, held_out))
    return Plan(config, run, base, sources, held_out, mixture, model, changed, warnings)


def mixture_of(files: Sequence[PairFile], config: TrainConfig) -> Mixture:
    """Which pairs of the sources make which batch."""
    weights = [source.weight for source in config.data if source.weight is not None]
    return Mixture(
        [len(file) for file in files],
        config.optimiser.batch_size // num_processes(),
        config.optimiser.steps,
        config.run.seed,
        weights=weights or None,
        world=num_processes(),
    )


def require_extras() -> None:
    """
    Raises:
        TrainingError: what a run draws with isn't installed.
    """
    missing = [name for name in EXTRAS if find_spec(name) is None]
    if missing:
        raise TrainingError(
            f"training needs {' and '.join(missing)}",
            hint="pip install 'alm2vec-search[train]'",
        )


def _changed_since(run: Run, base: Base, data: Sequence[Checked]) -> dict[str, str]:
    """What differs from when a run that is resumed was started: files of pairs, and their sha256
    then.

    Raises:
        TrainingError: it was started from another model, or on another number of devices.
    """
    if run.checkpoint is None:
        return {}
    require_same_base(run.folder, base)
    record = run.record
    if (n_devices := record.get("processes", 1)) != num_processes():
        raise TrainingError(
            f"the run in {run.folder} was started on {counted(n_devices, 'device')}, and would go "
            f"on on {num_processes()}: its batches would be others",
            hint="resume on as many as before",
        )
    recorded = [*record.get("data", []), *filter(None, [record.get("held_out")])]
    then = {known["pairs"]: known["sha256"] for known in recorded}
    now = {str(checked.file.path): checked.sha256 for checked in data}
    return {path: sha256 for path, sha256 in then.items() if now.get(path) not in (None, sha256)}


def _warnings_of_change(changed: Iterable[str]) -> Iterator[str]:
    for path in changed:
        yield (
            f"{shown(Path(path))} was changed since the run was started: from here on its batches "
            "are others than they would have been"
        )


def _warnings(
    config: TrainConfig, sources: Sequence[Checked], held_out: Checked | None
) -> Iterator[str]:
    """What is noteworthy about the settings and the data. Reads all of it.

    Raises:
        PairError: a pair is of frames, and no cache is there to read them.
    """
    optimiser = config.optimiser
    if optimiser.warmup_steps >= optimiser.steps:
        yield (
            f"{counted(optimiser.steps, 'step')} and a warm-up of {optimiser.warmup_steps:,}: the "
            "full rate is never reached; set optimiser.warmup_steps"
        )
    known = set()
    if held_out is not None:
        for pair, _ in held_out.file.pairs():
            known |= _known_by(pair)
    for checked in [*sources, *filter(None, [held_out])]:
        if checked.left_out:
            yield (
                f"{shown(checked.file.path)}: {counted(checked.left_out, 'pair')} left out, since "
                f"{counted(checked.missing, 'audio file')} of {checked.audio_files:,} "
                f"{'is' if checked.missing == 1 else 'are'} missing, "
                f"{', '.join(map(shown, checked.first_missing))}"
                + (" for instance" if checked.missing > len(checked.first_missing) else "")
            )
        is_source = checked is not held_out
        n_shared = 0
        for pair, line in checked.file.pairs():
            if config.audio.cache_frames is None and any(s.frames for s in sounds_of(pair)):
                raise line.error(
                    "frames, where no frame cache is used",
                    hint="name a folder for one: [audio] cache_frames",
                )
            n_shared += is_source and not known.isdisjoint(_known_by(pair))
        if n_shared:
            yield (
                f"{shown(checked.file.path)}: {counted(n_shared, 'pair')} of sounds that are held "
                "out, too: what is measured on these will flatter"
            )


def _known_by(pair: Pair) -> set[object]:
    """What tells that two pairs are about one sound."""
    known: set[object] = set(sounds_of(pair))
    if pair.clip is not None:
        known.add((pair.source, pair.clip))
    return known


def _described(checked: Checked) -> str:
    n_groups, n_pairs = len(checked.file), checked.pairs - checked.left_out
    alternatives = "" if n_groups == n_pairs else f" in {counted(n_groups, 'group')}"
    return (
        f"{shown(checked.file.path)}: {counted(n_pairs, 'pair')}{alternatives}, "
        f"{counted(checked.sounds, 'sound')}"
    )
