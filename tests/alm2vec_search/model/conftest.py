"""What the tests of the model share: encoders that were loaded once, real sounds, a toy model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from cascade_checkpoints import write_text_model, write_whisper
from torch_threads import one_thread  # noqa: F401  (of this package, by being here)
from transformers import BertConfig

from alm2vec_search.audio import decode
from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import find_model
from alm2vec_search.model.modeling_alm2vec import ALM2VecModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from alm2vec_search.domain import Waveform

SAMPLES = Path(__file__).parents[3] / "samples"
SOUNDS = """
    animals/REC_0042.wav animals/behind_the_door.ogg animals/cow_pasture.mp3 animals/DSC_0817.m4a
    animals/hillside.flac animals/pig_sty.mp3 animals/STE-007.opus animals/R07_0113.wav
    instruments/take_03.mp3 instruments/snare_roll.flac instruments/tabla.ogg
    instruments/idea_7b.wav instruments/em9_strum.m4a instruments/bounce_0012.opus
    water/creek.ogg machines/printer_3d.m4a
    effects/fx_011.ogg effects/front_hall.wav effects/knock.flac effects/excuse_me.m4a
    effects/snap.wav
    voices/weather_report.mp3 voices/VN-20240312-0007.m4a voices/counting.flac
""".split()


@pytest.fixture(scope="session")
def encoder32() -> ALM2VecEncoder:
    return ALM2VecEncoder(find_model("small"), dtype="float32")


@pytest.fixture(scope="session")
def encoder16() -> ALM2VecEncoder:
    return ALM2VecEncoder(find_model("small"), dtype="bfloat16")


@pytest.fixture(scope="session")
def sounds() -> dict[str, Waveform]:
    """Some of `samples/`, by file name; the shortest has 0.2 s, the longest 11 s."""
    return {Path(path).name: decode(SAMPLES / path, 16_000) for path in SOUNDS}


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy that writes the names of tones."""
    folder: Path = tmp_path_factory.mktemp("whisper")
    write_whisper(folder, multilingual=False)
    return folder


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy of sentence-transformers without prompts."""
    return write_text_model(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def tiny_model() -> Callable[..., ALM2VecModel]:
    """Makes models with a language model of two narrow layers and random weights."""

    def make(*, fuse: bool = True, seed: int = 0, **fields: Any) -> ALM2VecModel:
        torch.manual_seed(seed)
        model: ALM2VecModel = ALM2VecModel(tiny_config(**fields)).eval()
        torch.nn.init.normal_(model.audio_projector.words)
        for part in model.audio_encoder.modules():  # as small as torch makes them, nothing is heard
            if isinstance(part, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(part.weight)
        if fuse:  # it is quicker, but no longer what is saved
            model.audio_encoder.compute_in(torch.float32)
        return model

    return make


def tiny_config(**fields: Any) -> ALM2VecConfig:
    text_config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    projector = {"kind": "soft_words", "num_classes": 20, "num_words": 3, "pieces_per_word": 2}
    return ALM2VecConfig(**{"text_config": text_config, "projector_config": projector, **fields})
