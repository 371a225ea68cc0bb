"""Pairs → a batch of tensors: sounds heard, inputs written down, in mini-batches that fit.

    {"mini_batches": [{...}, ...],     # each the arguments of `ALM2VecModel.forward`
     "rows": int64 [2B+H],             # of all mini-batches' rows: the B queries, in the pairs'
                                       # order, the B documents, and the H hard negatives
     "query_ids": int64 [B],           # equal for queries of the same content and instruction
     "document_ids": int64 [B+H],      # equal for documents of the same content
     "clip_ids": int64 [B],            # equal for pairs of one clip; negative where there is none
     "negative_owners": int64 [H]}     # the row of the pair that a hard negative belongs to

A mini-batch holds inputs of one kind and of about a length, whichever side of a pair they are on
(`trainer.grouping`), so that little of it is padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.multiprocessing import set_sharing_strategy
from torch.utils.data import get_worker_info

from alm2vec_search.errors import AudioError, TrainingError
from alm2vec_search.model.processing_alm2vec import Frames, ModelInput
from trainer.grouping import Size, grouped, rows_of
from trainer.hearing import hear
from trainer.seeds import fraction_of, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from alm2vec_search.domain import Waveform
    from trainer.data import LocatedPair
    from trainer.frame_cache import FrameCache
    from trainer.pairs import AudioRef, Side

    Batch = dict[str, Any]
    MiniBatch = dict[str, Tensor]
    Processor = Callable[[Sequence[ModelInput]], MiniBatch]

WAY_OUT = "mend the file, or take the line out"


class Collator:
    """The `collate_fn` of a `DataLoader` over pairs.

    Where a long sound is cut depends on the seed, the draw, and the side of the pair that it is on:
    it is the same on every process and when a run resumes, and another in each epoch.

    Args:
        processor: inputs → tensors.
        max_audio_s: the most of a sound that is heard, in seconds; None is all.
        mini_batch_size: inputs in a mini-batch, at most.
        seed: of the run.
        query_instruction: of queries that have none of their own.
        document_instruction: of documents that have none of their own.
        frame_cache: where sounds come from as frames; without one, they are decoded. It has its own
            `max_audio_s`.
        sampling_rate: of the model, in Hz.
    """

    def __init__(
        self,
        processor: Processor,
        max_audio_s: float | None,
        mini_batch_size: int,
        seed: int,
        query_instruction: str,
        document_instruction: str,
        frame_cache: FrameCache | None = None,
        *,
        sampling_rate: int,
    ) -> None:
        self.processor = processor
        self.max_audio_s = max_audio_s
        self.mini_batch_size = mini_batch_size
        self.seed = seed
        self.query_instruction = query_instruction
        self.document_instruction = document_instruction
        self.frame_cache = frame_cache
        self.sampling_rate = sampling_rate

    def __call__(self, pairs: Iterable[LocatedPair]) -> Batch:
        """A batch, as above. In a worker process of torch, what went wrong is `{"error": error}`:
        torch would make a text of it on its way. `raise_error` raises it.

        Raises:
            PairError: a sound of a pair can't be had.
            TrainingError: a pair can't be read.
        """
        if get_worker_info() is None:
            return self.collate(list(pairs))
        # By default torch sends an open file for each tensor, and these are hundreds.
        set_sharing_strategy("file_system")  # type: ignore[no-untyped-call]
        try:
            return self.collate(list(pairs))
        except TrainingError as error:
            return {"error": error}

    def collate(self, pairs: Sequence[LocatedPair]) -> Batch:
        """As `__call__`, but for errors, which are raised wherever this runs."""
        queries = [(located, located.pair.query, "query") for located in pairs]
        documents = [(located, located.pair.document, "document") for located in pairs]
        owners = []
        for row, located in enumerate(pairs):
            for number, negative in enumerate(located.pair.negatives):
                documents.append((located, negative, f"negative {number}"))
                owners.append(row)
        query_ids = [query_id(side, self._instruction(side, name)) for _, side, name in queries]
        document_ids = [document_id(side) for _, side, _ in documents]
        inputs = [self._input(*side) for side in (*queries, *documents)]
        groups = grouped(list(map(size_of, inputs)), self.mini_batch_size)
        return {
            "mini_batches": [self.processor([inputs[n] for n in group]) for group in groups],
            "rows": rows_of(groups),
            "query_ids": torch.tensor(query_ids, dtype=torch.int64),  # [B]
            "document_ids": torch.tensor(document_ids, dtype=torch.int64),  # [B+H]
            "clip_ids": torch.tensor(list(map(clip_id, pairs)), dtype=torch.int64),  # [B]
            "negative_owners": torch.tensor(owners, dtype=torch.int64),  # [H]
        }

    def _input(self, located: LocatedPair, side: Side, name: str) -> ModelInput:
        audio: Waveform | Frames | None = None
        if side.audio is not None:
            try:
                audio = self._sound(side.audio, located, name)
            except (AudioError, TrainingError) as error:
                raise located.line.error(str(error), error.hint or WAY_OUT) from error
        return ModelInput(side.text, audio, self._instruction(side, name))

    def _sound(self, ref: AudioRef, located: LocatedPair, name: str) -> Waveform | Frames:
        if self.frame_cache is not None:
            return Frames(self.frame_cache.get(ref))
        if ref.frames is not None:
            raise TrainingError(
                f"{ref.path}: frames, where no frame cache is used",
                hint="use one: all sounds of a run are frames then",
            )
        draw = located.draw
        position = fraction_of("cut", self.seed, draw.source, draw.epoch, draw.group, name)
        return hear(ref, self.sampling_rate, self.max_audio_s, position)

    def _instruction(self, side: Side, name: str) -> str:
        if side.instruction is not None:
            return side.instruction
        return self.query_instruction if name == "query" else self.document_instruction


def raise_error(batch: Batch) -> Batch:
    """The batch, if it is one.

    Raises:
        TrainingError: what went wrong in the worker process that was to make it.
    """
    if "error" in batch:
        raise batch["error"]
    return batch


def size_of(item: ModelInput) -> Size:
    """How long an input is: its sound in samples or in frames, its words in characters."""
    match item.audio:
        case None:
            audio = 0
        case Frames(values):
            audio = len(values)
        case waveform:
            audio = len(waveform.samples)
    return Size(audio, len(item.text or "") + len(item.instruction))


def query_id(side: Side, instruction: str) -> int:
    """Equal for the same content under the same instruction; case and spaces don't count."""
    return number_of("query", *_content(side), instruction)


def document_id(side: Side) -> int:
    """Equal for the same content; case and spaces don't count."""
    return number_of("document", *_content(side))


def clip_id(located: LocatedPair) -> int:
    """Equal for pairs of one clip of one source; negative, and no other's, where there is none."""
    pair, draw = located.pair, located.draw
    if pair.clip is None:
        return -1 - number_of("no clip", draw.source, draw.epoch, draw.group)
    source = ("file", str(located.line.file)) if pair.source is None else ("source", pair.source)
    return number_of("clip", *source, pair.clip)


def _content(side: Side) -> tuple[str | float | None, ...]:
    words = None if side.text is None else " ".join(side.text.casefold().split())
    if side.audio is None:
        return (words,)
    audio = side.audio
    return words, str(audio.path), audio.start_s or 0.0, audio.end_s, audio.frames
