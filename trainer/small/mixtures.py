"""Two sounds at a time, one over the other, from the small model's material.

    python -m trainer.small.mixtures MATERIAL --count 2000

reads `MATERIAL/clips.jsonl` and writes `MATERIAL/mixtures/*.flac` and `MATERIAL/mixtures.jsonl`,
a line each: path, the paths of both parts, and how much louder the first is, in dB. Speech,
music and other sounds meet in all combinations; two of the same labels never do.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from alm2vec_search.audio import decode
from trainer.small.clips import RATE_HZ, read_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]
    Clip = dict[str, Any]  # a line of clips.jsonl

LONGEST_S = 6.0
SHORTEST_S = 1.0  # of a whole mixture
LOUDER_DB = (0.0, 12.0)  # the part in front, over the one behind it
IN_FRONT = {"speech": 0.45, "music": 0.1, "sound": 0.45}
BEHIND = {"speech": 0.1, "music": 0.3, "sound": 0.6}
LOUDEST = 0.7  # of full scale
SILENT = 1e-4  # root mean square


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("material", type=Path)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    clips = read_lines(args.material / "clips.jsonl")
    write_mixtures(args.material, clips, args.count, args.seed)


def write_mixtures(material: Path, clips: Sequence[Clip], count: int, seed: int) -> None:
    """Draw `count` pairs of clips, and write what they sound like together."""
    rng = np.random.default_rng(seed)
    by_kind = {kind: [clip for clip in clips if clip["kind"] == kind] for kind in sorted(IN_FRONT)}
    (material / "mixtures").mkdir(exist_ok=True)
    lines: list[dict[str, Any]] = []
    while len(lines) < count:
        front, behind = draw(by_kind, IN_FRONT, rng), draw(by_kind, BEHIND, rng)
        if are_alike(front, behind):
            continue
        louder_db = float(rng.uniform(*LOUDER_DB))
        mixture = mix(load(material, front), load(material, behind), louder_db, rng)
        if mixture is None:
            continue
        path = f"mixtures/{len(lines):05}.flac"
        soundfile.write(material / path, mixture, RATE_HZ, subtype="PCM_16")
        parts = [front["path"], behind["path"]]
        lines.append({"path": path, "parts": parts, "louder_db": round(louder_db, 1)})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (material / "mixtures.jsonl").write_text(text, encoding="utf-8")


def draw(by_kind: dict[str, list[Clip]], shares: dict[str, float], rng: Generator) -> Clip:
    """A clip of a kind drawn by its share; of a kind that isn't there, of any other."""
    kinds = [kind for kind in sorted(shares) if by_kind[kind]]
    weights = np.array([shares[kind] for kind in kinds])
    clips = by_kind[kinds[rng.choice(len(kinds), p=weights / weights.sum())]]
    sources = sorted({clip["source"] for clip in clips})
    source = sources[rng.integers(len(sources))]  # a large source isn't all that is heard
    of_source = [clip for clip in clips if clip["source"] == source]
    return of_source[rng.integers(len(of_source))]


def are_alike(front: Clip, behind: Clip) -> bool:
    """Whether one of them could be taken for the other."""
    both_speak = front["kind"] == behind["kind"] == "speech"
    return both_speak or bool(set(front.get("labels", ())) & set(behind.get("labels", ())))


def load(material: Path, clip: Clip) -> Samples:
    """The clip [n], without the silence at its ends."""
    samples = decode(material / clip["path"], RATE_HZ).samples
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]


def mix(front: Samples, behind: Samples, louder_db: float, rng: Generator) -> Samples | None:
    """Both at once: the part behind all the time, the one in front somewhere. None if silent."""
    longest = round(LONGEST_S * RATE_HZ)
    front, behind = front[:longest], behind[:longest]
    levels = [float(np.sqrt(np.mean(part**2))) if len(part) else 0.0 for part in (front, behind)]
    if min(levels) < SILENT:
        return None
    length = max(len(front), len(behind), round(SHORTEST_S * RATE_HZ))
    times = -(-length // len(behind))
    mixture = np.tile(behind / levels[1], times)[:length] * 10 ** (-louder_db / 20)
    start = int(rng.integers(length - len(front) + 1))
    mixture[start : start + len(front)] += front / levels[0]
    louder = LOUDEST / float(np.abs(mixture).max())
    levelled: Samples = (mixture * louder).astype(np.float32)
    return levelled


if __name__ == "__main__":
    main()
