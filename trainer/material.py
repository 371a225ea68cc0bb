"""What a run learns from and measures by, with its sounds at hand: decoded when they are needed, or
encoded once, before the run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from alm2vec_search.errors import TrainingError
from alm2vec_search.terminal import counted, shown
from trainer.base import build_processor
from trainer.collator import Collator
from trainer.data import PairFile, sounds_of
from trainer.evaluation import Evaluator, HeldOut
from trainer.frame_cache import FrameCache
from trainer.plan import mixture_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
    from trainer.config import TrainConfig
    from trainer.mixture import Mixture
    from trainer.pairs import AudioRef
    from trainer.plan import Plan
    from trainer.progress import Progress

NAMED = 3  # of sounds that can't be had, before the rest is only counted


@dataclass(frozen=True)
class Material:
    """Pairs with their sounds at hand, and how they become batches."""

    files: tuple[PairFile, ...]
    held_out: PairFile | None
    mixture: Mixture
    processor: Any
    frame_cache: FrameCache | None
    sampling_rate: int
    max_audio_s: float | None
    query_instruction: str
    document_instruction: str

    @classmethod
    def prepare(cls, plan: Plan, model: ALM2VecModel, progress: Progress) -> Material:
        """Encode what isn't in the frame cache yet, if there is one.

        Raises:
            TrainingError: sounds can't be had, and aren't to be skipped.
        """
        config = plan.config
        files = [source.file for source in plan.sources]
        held_out = None if plan.held_out is None else plan.held_out.file
        max_audio_s = config.audio.max_audio_s or model.config.max_audio_s
        cache = None
        mixture = plan.mixture
        if config.audio.cache_frames is not None:
            cache = FrameCache.of(model, config.audio.cache_frames, max_audio_s)
            missing = [source.missing for source in config.data]
            files = [
                _filled(cache, file, skip=how == "skip", progress=progress)
                for file, how in zip(files, missing, strict=True)
            ]
            if held_out is not None and config.held_out is not None:
                skip = config.held_out.missing == "skip"
                held_out = _filled(cache, held_out, skip=skip, progress=progress)
            mixture = mixture_of(files, config)
        return cls(
            files=tuple(files),
            held_out=held_out,
            mixture=mixture,
            processor=build_processor(plan.base, plan.skeleton),
            frame_cache=cache,
            sampling_rate=model.audio_encoder.sampling_rate,
            max_audio_s=max_audio_s,
            query_instruction=model.config.query_instruction,
            document_instruction=model.config.document_instruction,
        )

    def collator(self, config: TrainConfig) -> Collator:
        return Collator(
            self.processor,
            self.max_audio_s,
            config.optimiser.mini_batch_size,
            config.run.seed,
            self.query_instruction,
            self.document_instruction,
            self.frame_cache,
            sampling_rate=self.sampling_rate,
        )

    def evaluator(self, config: TrainConfig, progress: Progress) -> Evaluator | None:
        if self.held_out is None:
            return None
        return Evaluator(
            HeldOut(
                self.held_out.pairs(),
                query_instruction=self.query_instruction,
                document_instruction=self.document_instruction,
            ),
            self.processor,
            config.optimiser.mini_batch_size,
            self.sampling_rate,
            self.max_audio_s,
            self.frame_cache,
            partial(progress.preparing, "held out"),
        )


def _filled(cache: FrameCache, file: PairFile, *, skip: bool, progress: Progress) -> PairFile:
    """A file of pairs whose sounds are all in the cache.

    Raises:
        TrainingError: some can't be, and aren't to be skipped; or no pair is left.
    """

    def refs() -> Iterator[AudioRef]:
        for pair, _ in file.pairs():
            yield from sounds_of(pair)

    filled = cache.fill(refs(), partial(progress.preparing, "encoding sounds"))
    if not filled.failed:
        return file
    first = "; ".join(
        f"{shown(failure.ref.path)}: {failure.reason}" for failure in filled.failed[:NAMED]
    )
    more = len(filled.failed) - NAMED
    said = f"{shown(file.path)}: {counted(len(filled.failed), 'sound')} can't be had: {first}" + (
        f"; and {more:,} more" if more > 0 else ""
    )
    if not skip:
        raise TrainingError(
            said, hint='mend the files, or set missing = "skip" to leave out their pairs'
        )
    progress.note(f"left out: {said}")
    failed = {failure.ref for failure in filled.failed}
    return file.where(lambda pair: failed.isdisjoint(sounds_of(pair)))
