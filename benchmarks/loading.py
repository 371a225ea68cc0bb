"""What loading a published checkpoint costs in memory and time, beside reading it whole.

    python benchmarks/loading.py [--layers 12] [--shards 7] [--keep FOLDER]

Writes a checkpoint in the published layout with random weights (Dasheng base, a Qwen2 decoder of so
many layers), and loads it in bfloat16 onto the CPU, each way in a process of its own: by
`load_model`, and by reading every shard before the model is built. Memory is what the process
allocated (RssAnon, at its most), above what it held before; files that are only mapped don't count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models

from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.hub import find_model
from alm2vec_search.model.loading import load_model
from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
from alm2vec_search.model.published import published_name

if TYPE_CHECKING:
    from collections.abc import Iterator

AUDIO = {"embed_dim": 768, "depth": 12, "num_heads": 12}
WAYS = ("load_model", "whole")
MEGABYTE = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--shards", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="where the checkpoint stays")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measured(options.way, options.keep)))
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = options.keep or Path(folder) / "checkpoint"
        shard = write(checkpoint, options.layers, options.shards)
        print(f"largest shard {shard / MEGABYTE:.0f} MB; in bfloat16, onto the CPU")
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--keep", str(checkpoint)]
            said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            print(
                f"{way:11} model {said['model'] / MEGABYTE:5.0f} MB, "
                f"most beside it {said['beside'] / MEGABYTE:5.0f} MB, {said['seconds']:.1f} s"
            )


def write(folder: Path, layers: int, n_shards: int) -> int:
    """A checkpoint in the published layout; the size of its largest shard in bytes."""
    text = {
        "model_type": "qwen2",
        "vocab_size": 32_000,
        "hidden_size": 1_024,
        "intermediate_size": 4_096,
        "num_hidden_layers": layers,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 4_096,
    }
    config = ALM2VecConfig(
        audio_config={"model_type": "dasheng", **AUDIO},
        projector_config={"kind": "subsample", "factor": 5},
        text_config=dict(text),
    )
    with torch.device("meta"):
        shapes = ALM2VecModel(config).state_dict()
    tensors = {published_name(name): tensor for name, tensor in shapes.items()}
    folder.mkdir(parents=True, exist_ok=True)
    places = {name: place % n_shards for place, name in enumerate(tensors)}
    sizes = []
    for shard in range(n_shards):
        mine = {
            name: torch.randn(tensor.shape) * 0.02
            for name, tensor in tensors.items()
            if places[name] == shard
        }
        path = folder / f"model-{shard + 1:05d}-of-{n_shards:05d}.safetensors"
        save_file(mine, path, metadata={"format": "pt"})
        sizes.append(path.stat().st_size)
    said = {"model_type": "midashenglm", "audio_encoder_config": AUDIO, "text_config": text}
    (folder / "config.json").write_text(json.dumps(said))
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(folder / "tokenizer.json"))
    return max(sizes)


def measured(way: str, folder: Path) -> dict[str, float]:
    """Load it that way: bytes of the model, the most that was allocated beside it, and seconds."""
    before = allocated()
    started = time.perf_counter()
    with peak() as most:
        model = WAY[way](folder)
    seconds = time.perf_counter() - started
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    return {"model": size, "beside": max(most) - before - size, "seconds": seconds}


def by_load_model(folder: Path) -> ALM2VecModel:
    return load_model(find_model(str(folder)), torch.bfloat16, "cpu")


def by_reading_it_whole(folder: Path) -> ALM2VecModel:
    """Every shard, then the model, then the weights into it, then the numeric type."""
    files = find_model(str(folder))
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= {name: tensor.clone() for name, tensor in load_file(path).items()}
    model = ALM2VecModel(ALM2VecConfig.from_dict(files.description.fields))
    stored = {tensor.name: name for name, tensor in files.description.tensors.items()}
    model.load_state_dict({stored[name]: tensor for name, tensor in tensors.items()})
    return model.to(torch.bfloat16)


WAY = {"load_model": by_load_model, "whole": by_reading_it_whole}


@contextmanager
def peak() -> Iterator[list[int]]:
    """What is allocated, looked at every millisecond."""
    seen = [allocated()]
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.001):
            seen.append(allocated())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def allocated() -> int:
    """Bytes of this process's own memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system doesn't say: Linux does")


if __name__ == "__main__":
    main()
