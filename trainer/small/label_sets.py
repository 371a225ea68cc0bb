"""AudioSet's label sets, and captions that go with them: of clips whose audio can't be had."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.random import Generator

    from alm2vec_search.domain import Encoder
    from trainer.small.ontology import Ontology

    LabelSets = dict[str, list[str]]  # names, by clip
    Captioned = tuple[str, list[str]]

NEAREST_AS = (0.6, 0.25, 0.15)  # how often a caption takes the nearest set, the second, the third
AT_A_TIME = 1_000  # captions


def read_label_sets(path: Path, ontology: Ontology) -> LabelSets:
    """`label_sets.csv`: `youtube_id,label_ids`, the ids with spaces between."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = {row["youtube_id"]: row["label_ids"].split() for row in csv.DictReader(file)}
    named = {
        clip: [ontology.names[one] for one in ids if one in ontology.names]
        for clip, ids in rows.items()
    }
    return {clip: names for clip, names in named.items() if names}


def captions_with_sets(
    captions: Path, sets: LabelSets, count: int, encoder: Encoder, rng: Generator
) -> list[Captioned]:
    """AudioCaps' captions with the label set of their clip, twice each, as these are sure; and up
    to `count` others, with one of the sets that read most like them."""
    with captions.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = [row for row in rows if row["youtube_id"] in sets]
    rest = [row["caption"] for row in rows if row["youtube_id"] not in sets]
    chosen = [rest[place] for place in rng.permutation(len(rest))[:count]]
    sure = [(row["caption"], sets[row["youtube_id"]]) for row in known]
    guessed = nearest_sets(chosen, list(sets.values()), encoder, rng)
    return [*sure, *sure, *zip(chosen, guessed, strict=True)]


def nearest_sets(
    captions: Sequence[str], sets: Sequence[list[str]], encoder: Encoder, rng: Generator
) -> list[list[str]]:
    """For each caption one of the label sets that read most like it."""
    distinct = {", ".join(names).lower(): names for names in sets}
    names = list(distinct.values())
    written = torch.from_numpy(encoder.encode_document(text=list(distinct)))  # [S, dim]
    n_nearest = min(len(NEAREST_AS), len(names))
    odds = [share / sum(NEAREST_AS[:n_nearest]) for share in NEAREST_AS[:n_nearest]]
    chosen = []
    for start in range(0, len(captions), AT_A_TIME):
        asked = torch.from_numpy(encoder.encode_query(text=captions[start : start + AT_A_TIME]))
        for best in (asked @ written.T).topk(n_nearest).indices.tolist():
            chosen.append(names[best[rng.choice(n_nearest, p=odds)]])
    return chosen
