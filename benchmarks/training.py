"""How fast `alm2vec train` is beside the trainer of sentence-transformers, and in how much memory.

    pip install datasets
    python benchmarks/training.py --captions train_captions.csv

The same for both: MiniLM as it ships in `small`, in float32; LoRA of rank 16 on queries, keys and
values; pairs of texts, a column `caption` of a CSV file, each with the next; the symmetric
contrastive loss over the whole batch, through a gradient cache with mini-batches of the same size;
AdamW. Theirs is `CachedMultipleNegativesSymmetricRankingLoss`. They train texts and one sound an
input, but no sound with an instruction; so what is compared is texts.

Each in a process of its own, in turns. Pairs per second leave out loading and the first steps;
memory is the most that the process held, its model included.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from results import median_and_range, print_table, warn_if_busy, write_json
from transformers import PreTrainedTokenizerFast, TrainerCallback

from alm2vec_search.model.hub import BUNDLED, find_model
from alm2vec_search.model.loading import load_model
from trainer.config import read_config
from trainer.training import train

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP = 3  # steps
WAYS = ("alm2vec", "sentence-transformers", "alm2vec, graphs kept")
LONGEST = 256  # tokens; no caption comes near


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be trained."""

    captions: list[str]
    batch_size: int
    mini_batch_size: int
    steps: int
    threads: int

    def pairs(self) -> list[tuple[str, str]]:
        """Each caption once."""
        return list(zip(self.captions[::2], self.captions[1::2], strict=True))


class Clock(TrainerCallback):  # type: ignore[misc]
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


def main() -> None:
    args = parse_args()
    needed = 2 * args.batch * args.steps
    with args.captions.open(newline="", encoding="utf-8") as file:
        captions = [row["caption"] for row in csv.DictReader(file)][:needed]
    if len(captions) < needed:
        sys.exit(
            f"error: {needed:,} captions are needed, and {args.captions} has {len(captions):,}"
        )
    task = Task(captions, args.batch, args.mini_batch, args.steps, args.threads)
    if args.way:
        print(json.dumps(measured(args.way, task)))
        return
    warn_if_busy()
    rounds: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(args.rounds):
        for way in WAYS:
            command = [sys.executable, *sys.argv, "--way", way]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rounds[way].append(json.loads(done.stdout.splitlines()[-1]))
    report(rounds, args)
    write_json(args.json, {"rounds": rounds})


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--captions", type=Path, required=True, metavar="CSV")
    parser.add_argument("--batch", type=int, default=128, metavar="PAIRS")
    parser.add_argument("--mini-batch", type=int, default=32, metavar="INPUTS")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there, too")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(way: str, task: Task) -> dict[str, float]:
    """Pairs per second, and megabytes."""
    torch.set_num_threads(task.threads)
    with tempfile.TemporaryDirectory() as folder:
        if way == "sentence-transformers":
            pairs_per_s = train_theirs(task, Path(folder))
        else:
            pairs_per_s = train_ours(task, Path(folder), keep_graphs=way != "alm2vec")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"pairs_per_s": pairs_per_s, "memory_mb": most}


def train_ours(task: Task, folder: Path, *, keep_graphs: bool) -> float:
    lines = [{"query": {"text": q}, "document": {"text": d}} for q, d in task.pairs()]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (folder / "run.toml").write_text(f"""
[model]
base = "{BUNDLED}"
[[data]]
pairs = "pairs.jsonl"
[loss]
temperature = 0.05
mask = "none"
[optimiser]
steps = {task.steps}
batch_size = {task.batch_size}
mini_batch_size = {task.mini_batch_size}
gradient_cache = {str(not keep_graphs).lower()}
[run]
out = "run"
log_every = 1
save_every = {task.steps}
device = "cpu"
""")
    train(read_config(folder / "run.toml"))
    logged = map(json.loads, (folder / "run" / "metrics.jsonl").read_text().splitlines())
    each = [line["pairs_per_s"] for line in logged if "pairs_per_s" in line]
    return statistics.harmonic_mean(each[WARM_UP:])


def train_theirs(task: Task, folder: Path) -> float:
    from datasets import Dataset
    from peft import LoraConfig
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesSymmetricRankingLoss,
    )
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    write_minilm(folder / "minilm")
    transformer = Transformer(str(folder / "minilm"), max_seq_length=LONGEST)
    pooling = Pooling(transformer.get_embedding_dimension())
    model = SentenceTransformer(modules=[transformer, pooling], device="cpu")
    targets = ["query", "key", "value"]
    model.add_adapter(LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=targets))
    queries, documents = zip(*task.pairs(), strict=True)
    clock = Clock()
    SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            str(folder / "theirs"),
            max_steps=task.steps,
            per_device_train_batch_size=task.batch_size,
            learning_rate=1e-4,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            logging_steps=1,
        ),
        train_dataset=Dataset.from_dict({"anchor": queries, "positive": documents}),
        loss=CachedMultipleNegativesSymmetricRankingLoss(
            model, mini_batch_size=task.mini_batch_size
        ),
        callbacks=[clock],
    ).train()
    steps = len(clock.ends) - WARM_UP
    return task.batch_size * steps / (clock.ends[-1] - clock.ends[WARM_UP - 1])


def write_minilm(folder: Path) -> None:
    """The language model of `small`, as a checkpoint of transformers."""
    files = find_model(BUNDLED)
    load_model(files, torch.float32, "cpu").language_model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_file=str(files.tokenizer_folder / "tokenizer.json"),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)


def report(rounds: dict[str, list[dict[str, float]]], args: argparse.Namespace) -> None:
    rows: list[Sequence[object]] = []
    for way, each in rounds.items():
        speeds = median_and_range([one["pairs_per_s"] for one in each], 1)
        rows.append([way, *speeds, f"{statistics.median(one['memory_mb'] for one in each):.0f}"])
    print_table(
        f"{args.batch} pairs a batch, {args.mini_batch} inputs at a time, {args.threads} threads",
        ["", "pairs/s", "of all rounds", "most MB"],
        rows,
    )
    theirs = rounds["sentence-transformers"]
    ratios: list[Sequence[object]] = []
    for way in WAYS:
        if way != "sentence-transformers":
            faster = [
                ours["pairs_per_s"] / their["pairs_per_s"]
                for ours, their in zip(rounds[way], theirs, strict=True)
            ]
            ratios.append([way, *median_and_range(faster)])
    print_table("pairs/s, against sentence-transformers", ["", "ratio", "of all rounds"], ratios)


if __name__ == "__main__":
    main()
