"""What the frozen audio encoder makes of the material: frames, kept in one safetensors file.

    python -m trainer.small.hearing MATERIAL --model FOLDER

writes `MATERIAL/frames.safetensors`: for each line of `clips.jsonl` and `mixtures.jsonl` a tensor
float16 [T, 1024] by the name of its path. What is there from a run before isn't heard again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.progress import track
from safetensors import safe_open
from safetensors.torch import save_file

from alm2vec_search.audio import decode
from alm2vec_search.errors import AudioError
from alm2vec_search.model.hub import BUNDLED, find_model
from alm2vec_search.model.loading import load_model
from alm2vec_search.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel

FRAMES = "frames.safetensors"
LISTS = ("clips.jsonl", "mixtures.jsonl")
LONGEST_S = 10.0
CLIPS_AT_A_TIME = 8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("material", type=Path)
    parser.add_argument("--model", default=BUNDLED, help="its audio encoder hears")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load_model(find_model(args.model), torch.float32, "cpu")
    hear_all(args.material, model)


def hear_all(material: Path, model: ALM2VecModel) -> None:
    """Write the frames of all clips and mixtures; those that can't be read are named."""
    known = read_frames(material / FRAMES)
    paths = [path for path in listed(material) if path not in known]
    rate = model.audio_encoder.sampling_rate
    sounds: dict[str, Tensor] = {}
    for path in paths:
        try:
            samples = decode(material / path, rate).samples[: round(LONGEST_S * rate)]
        except AudioError as error:
            say(f"left out: {error}")
            continue
        sounds[path] = torch.from_numpy(samples)
    by_length = sorted(sounds, key=lambda path: len(sounds[path]))
    groups = [by_length[i : i + CLIPS_AT_A_TIME] for i in range(0, len(by_length), CLIPS_AT_A_TIME)]
    for group in track(groups, "hearing"):
        heard = hear([sounds[path] for path in group], model)
        known.update(zip(group, heard, strict=True))
    wanted = {path: known[path] for path in listed(material) if path in known}
    save_file(wanted, material / FRAMES)


@torch.inference_mode()
def hear(sounds: list[Tensor], model: ALM2VecModel) -> list[Tensor]:
    """Waveforms [n] → frames float16 [T, D] of each."""
    lengths = torch.tensor([len(sound) for sound in sounds])
    frames, mask = model.audio_encoder(
        torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True), lengths
    )
    return [row[there].half() for row, there in zip(frames, mask, strict=True)]


def read_frames(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, in memory; none where it isn't there."""
    if not path.exists():
        return {}
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def listed(material: Path) -> Iterable[str]:
    """The paths of all clips and mixtures."""
    for name in LISTS:
        file = material / name
        if file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                yield json.loads(line)["path"]


if __name__ == "__main__":
    main()
