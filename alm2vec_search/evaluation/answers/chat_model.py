"""`ChatModel`: a model that answers, on this machine, run by transformers' own classes.

Qwen2-Audio, Qwen2.5-Omni, Audio Flamingo 3 and their kin: what an `AutoProcessor` prepares by a
chat template, and an auto class loads. Nothing that lies beside the weights is run, and no pickle
is read.
"""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from alm2vec_search.errors import ModelError, ModelNotHere, one_line
from alm2vec_search.evaluation.answers.prompting import prompt_for
from alm2vec_search.model.repositories import Repository

if TYPE_CHECKING:
    from collections.abc import Callable

    from alm2vec_search.domain import Waveform
    from alm2vec_search.evaluation.answers.questions import ChoiceQuestion

HINT = "name a model that hears and answers, such as Qwen/Qwen2-Audio-7B-Instruct"
MAX_TOKENS = 1024  # of an answer, with what is thought before it
CLASSES = ("AutoModelForMultimodalLM", "AutoModelForImageTextToText", "AutoModelForSeq2SeqLM")
# These speak, too: only the half that writes is loaded.
WRITING_HALVES = {
    "qwen2_5_omni": "Qwen2_5OmniThinkerForConditionalGeneration",
    "qwen3_omni_moe": "Qwen3OmniMoeThinkerForConditionalGeneration",
}
HEARS_THE_START = {"qwen2_audio", "qwen2_5_omni", "qwen2_5_omni_thinker"}  # of a longer sound

log = logging.getLogger(__name__)


class ChatModel:
    """Greedy, without gradients. Meets `alm2vec_search.evaluation.answers.questions.Answerer`.

    Args:
        model: its folder, or owner/name of a hub, with @ and a revision where that matters.
        device: as torch names it; `auto` is the GPU, if there is one.
        dtype: of the weights and of the arithmetic; `auto` is what is quickest there.
        announce: is told what has to be fetched.

    Raises:
        ModelError: there is no such model, it can't be loaded, hears nothing or has no chat
            template, or the device isn't there.
    """

    def __init__(
        self, model: str, *, device: str, dtype: str, announce: Callable[[str], None]
    ) -> None:
        import torch
        from transformers import AutoConfig

        from alm2vec_search.model.hardware import preferred_device, preferred_dtype, require_device
        from alm2vec_search.model.loading import explained, room_on
        from alm2vec_search.model.strict_loading import fitting_weights, refuse_pickles

        self.name = model
        self.device = preferred_device() if device == "auto" else device
        require_device(self.device)
        self.dtype = preferred_dtype(self.device) if dtype == "auto" else dtype
        self._dtype = getattr(torch, self.dtype)
        folder = _located(model, announce)
        refuse_pickles(folder)
        theirs: Any = {"local_files_only": True, "trust_remote_code": False}
        files: Any = SimpleNamespace(folder=folder)
        with explained(files), fitting_weights(folder):
            config = AutoConfig.from_pretrained(folder, **theirs)
            loader, written = _class_of(config, model)
            self._processor = _processor_of(folder, model, **theirs)
            with room_on(self.device):
                self._model = loader.from_pretrained(
                    folder, config=written, dtype=self._dtype, use_safetensors=True, **theirs
                )
                self._model.to(self.device).eval()
        extractor: Any = self._processor.feature_extractor
        self.sampling_rate = int(extractor.sampling_rate)
        cuts = config.model_type in HEARS_THE_START
        self._longest: int | None = getattr(extractor, "n_samples", None) if cuts else None

    def answer(self, question: ChoiceQuestion) -> str:
        """What it says, without what it is made to say before.

        Raises:
            ModelError: it has no room for the question, or can't take it.
            ValueError: the sound is at another rate than the model's.
        """
        from alm2vec_search.model.loading import room_on, without_talk

        if question.sound is not None:
            self._check(question.sound)
        try:
            with without_talk(), room_on(self.device):
                return self._say(question)
        except ModelError:
            raise
        except Exception as error:  # of whatever processor and model it is
            raise ModelError(f"{self.name} can't take the question: {one_line(error)}") from error

    def _say(self, question: ChoiceQuestion) -> str:
        import torch

        content: list[dict[str, Any]] = [{"type": "text", "text": prompt_for(question)}]
        if question.sound is not None:
            content.insert(0, {"type": "audio", "audio": question.sound.samples})
        inputs = self._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self.device, self._dtype)
        ends = self._ends()
        with torch.inference_mode():
            ids = self._model.generate(
                **inputs,
                do_sample=False,
                num_beams=1,
                max_new_tokens=MAX_TOKENS,
                eos_token_id=ends or None,
                pad_token_id=ends[0] if ends else None,
            )  # [1, prompt + answer]
        said = ids[0, inputs["input_ids"].shape[1] :]
        return str(self._processor.decode(said, skip_special_tokens=True)).strip()

    def _check(self, sound: Waveform) -> None:
        if sound.sampling_rate != self.sampling_rate:
            raise ValueError(f"sound at {sound.sampling_rate} Hz, not {self.sampling_rate}")
        if self._longest is not None and len(sound.samples) > self._longest:
            longest_s = self._longest / self.sampling_rate
            log.warning(
                "%s hears %g s of a sound, not %g s", self.name, longest_s, sound.duration_s
            )

    def _ends(self) -> list[int]:
        """The tokens that end an answer. Not every checkpoint names them in one place."""
        ends = self._model.generation_config.eos_token_id
        named = ends if isinstance(ends, list) else [ends]
        tokens = [*named, self._processor.tokenizer.eos_token_id]
        return [token for token in dict.fromkeys(tokens) if token is not None]


def _located(model: str, announce: Callable[[str], None]) -> Path:
    """The folder of a model; what of it isn't here is fetched."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    repository = Repository.parse(model)
    if repository is None:
        raise ModelError(
            f"no model is called {model}", hint="use a model's folder, or owner/name of a hub"
        )
    try:
        return repository.local()
    except ModelNotHere:
        return repository.fetch(announce)


def _class_of(config: Any, model: str) -> tuple[Any, Any]:
    """What loads it, and the part of its config that this needs."""
    import transformers

    if config.model_type in WRITING_HALVES:
        return getattr(transformers, WRITING_HALVES[config.model_type]), config.thinker_config
    for name in CLASSES:
        auto = getattr(transformers, name, None)  # an older transformers has not all of them
        if auto is not None and type(config) in auto._model_mapping:
            return auto, config
    raise ModelError(
        f"{model} is no model that hears and answers: its kind is {config.model_type}", hint=HINT
    )


def _processor_of(folder: Path, model: str, **theirs: Any) -> Any:
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(folder, **theirs)
    except ImportError as error:  # of what it would need for pictures
        raise ModelError(
            f"{model} needs a package that isn't installed: {one_line(error)}",
            hint="pip install torchvision is what an Omni model wants",
        ) from error
    if not getattr(getattr(processor, "feature_extractor", None), "sampling_rate", None):
        raise ModelError(f"{model} hears nothing", hint=HINT)
    if not processor.chat_template:
        raise ModelError(f"{model} has no chat template, so how to ask it isn't known", hint=HINT)
    return processor
