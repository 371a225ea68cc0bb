"""Which of mteb's tasks are about sounds, finding one by its name, and what it instructs."""

from __future__ import annotations

import difflib
import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from alm2vec_search.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mteb import AbsTask, TaskMetadata
    from mteb.types import PromptType

ADVICE = "The task .* is (currently in beta|superseded by)"
# Words and a sound in one query, as in "like this, but with rain", and sounds to find.
AUDIO_TEXT_TO_AUDIO = (
    "ACMComposedAudioRetrieval",
    "CLDAT2ARetrieval",
    "ClothoMomentRetrieval",
    "MMEditAT2ARetrieval",
    "SpeechEditAcousticRetrieval",
)
TEXT_TO_AUDIO = (
    "AudioCapsT2ARetrieval",
    "AudioSetStrongT2ARetrieval.v2",
    "CASTELLAAMRRetrieval.v2",
    "ClothoT2ARetrieval.v2",
    "CMUArcticT2ARetrieval.v2",
    "CommonVoiceMini17T2ARetrieval",
    "CommonVoiceMini21T2ARetrieval",
    "EmoVDBT2ARetrieval.v2",
    "FGMCapsT2ARetrieval",
    "FleursT2ARetrieval.v2",
    "GigaSpeechT2ARetrieval.v2",
    "GoogleSVQT2ARetrieval",
    "HiFiTTST2ARetrieval.v2",
    "IncompeBenchLenientRetrieval",
    "IncompeBenchStrictRetrieval",
    "JamAltLyricT2ARetrieval",
    "JLCorpusT2ARetrieval",
    "LASST2ARetrieval.v2",
    "LibriTTST2ARetrieval.v2",
    "LPMusicCapsMTTT2ARetrieval",
    "MACST2ARetrieval.v2",
    "MusicCapsT2ARetrieval",
    "SongDescriberT2ARetrieval",
    "SoundDescsT2ARetrieval",
    "SpokenSQuADT2ARetrieval",
)
AUDIO_TO_TEXT = (
    "AudioCapsA2TRetrieval",
    "AudioSetStrongA2TRetrieval.v2",
    "CLDA2TRetrieval",
    "ClothoA2TRetrieval.v2",
    "CMUArcticA2TRetrieval.v2",
    "CommonVoiceMini17A2TRetrieval",
    "CommonVoiceMini21A2TRetrieval",
    "EmoVDBA2TRetrieval.v2",
    "FGMCapsA2TRetrieval",
    "FleursA2TRetrieval.v2",
    "GigaSpeechA2TRetrieval.v2",
    "GoogleSVQA2TRetrieval",
    "HiFiTTSA2TRetrieval.v2",
    "JamAltLyricA2TRetrieval",
    "JLCorpusA2TRetrieval",
    "LASSA2TRetrieval.v2",
    "LibriTTSA2TRetrieval.v2",
    "LPMusicCapsMTTA2TRetrieval",
    "MACSA2TRetrieval.v2",
    "MusicCapsA2TRetrieval",
    "SongDescriberA2TRetrieval",
    "SoundDescsA2TRetrieval",
)
# What the benchmark of this name is made of.
MAEB = (
    "BeijingOpera",
    "BirdCLEF",
    "ClothoT2ARetrieval",
    "CommonLanguageAgeDetection",
    "CommonVoiceMini21T2ARetrieval",
    "CREMA_D",
    "CREMA_DClustering",
    "CREMADPairClassification",
    "FleursT2ARetrieval",
    "FSD2019Kaggle",
    "GigaSpeechT2ARetrieval",
    "GTZANAudioReranking",
    "GTZANGenre",
    "IEMOCAPGender",
    "JamAltArtistA2ARetrieval",
    "JamAltLyricA2TRetrieval",
    "MACST2ARetrieval",
    "MInDS14",
    "MridinghamTonic",
    "NMSQAPairClassification",
    "RavdessZeroshot",
    "SIBFLEURS",
    "SpeechCommandsZeroshotv0.02",
    "SpokenSQuADT2ARetrieval",
    "UrbanSound8KT2ARetrieval",
    "VehicleSoundClustering",
    "VoxCelebSA",
    "VoxPopuliAccentPairClassification",
    "VoxPopuliGenderClustering",
    "VoxPopuliLanguageID",
)


class Instructions(Enum):
    """Which instruction inputs are embedded under."""

    MODEL = "model"  # the model's own, as in a search that names none
    TASK = "task"  # that of the task, or of a query, where there is one; else the model's


@dataclass(frozen=True, slots=True)
class ListedTask:
    """A task of mteb's, as `--list` shows it."""

    name: str
    type: str  # of mteb: Any2AnyRetrieval, AudioClassification, ...
    category: str  # from what to what: t2a, a2t, at2a, a2c, ...


def require_mteb() -> None:
    """
    Raises:
        EvaluationError: mteb isn't installed.
    """
    if find_spec("mteb") is None:
        raise EvaluationError("mteb isn't installed", hint="pip install 'alm2vec-search[eval]'")


def listed_tasks() -> list[ListedTask]:
    """All that are named here, by kind and name."""
    names = dict.fromkeys((*AUDIO_TEXT_TO_AUDIO, *TEXT_TO_AUDIO, *AUDIO_TO_TEXT, *MAEB))
    tasks = []
    for name in names:
        metadata = find_task(name).metadata
        tasks.append(ListedTask(name, str(metadata.type), str(metadata.category or "")))
    return sorted(tasks, key=lambda task: (task.type, task.category, task.name))


def find_task(name: str) -> AbsTask:
    """A task by the name that mteb has for it.

    Raises:
        EvaluationError: there is none, or it has more to it than words and sounds.
    """
    with without_advice():
        import mteb

        try:
            task = mteb.get_task(name)
        except KeyError as error:
            raise EvaluationError(f"mteb has no task {name}", hint=_near(name)) from error
    kinds = [str(kind) for kind in task.metadata.modalities]
    if set(kinds) - {"audio", "text"}:
        raise EvaluationError(
            f"{name} is about {' and '.join(kinds)}; our models take words and sounds",
            hint="alm2vec eval mteb --list shows tasks that they can do",
        )
    return task


def task_instruction(task: TaskMetadata, prompt_type: PromptType | None) -> str | None:
    """What a task says that is asked for; None where it doesn't.

    One that is for all inputs alike is for queries only where there are queries: documents aren't
    asked for anything.
    """
    prompt = task.prompt
    role = None if prompt_type is None else str(prompt_type.value)
    if isinstance(prompt, str):
        return prompt if role != "document" else None
    if prompt is None or role is None:
        return None
    said = dict(prompt).get(role)
    return str(said) if said else None


def _near(name: str) -> str:
    from mteb.get_tasks import TASK_LIST

    by_small_letters = {kind.metadata.name.lower(): kind.metadata.name for kind in TASK_LIST}
    near = difflib.get_close_matches(name.lower(), by_small_letters, n=3)
    if near:
        return "did you mean " + " or ".join(by_small_letters[known] for known in near) + "?"
    return "alm2vec eval mteb --list shows those about sounds"


@contextmanager
def without_advice() -> Iterator[None]:
    """That a task is in beta, or that there is a later one, mteb says as a warning and in its log.
    Runs have it in their notes."""
    log: Any = logging.getLogger("mteb.abstasks.abstask")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ADVICE, UserWarning)
            yield
    finally:
        log.setLevel(before)
