"""From a little material to a model to start from, and pairs that can be read."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel

from alm2vec_search.errors import TrainingError
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import find_model
from alm2vec_search.model.loading import load_model
from alm2vec_search.model.modeling_yamnet import YamnetModel
from alm2vec_search.model.start import start
from trainer.data import PairFile, sounds_of
from trainer.frame_cache import FrameCache
from trainer.small.build import LONGEST_S, Amounts, Sources, build
from trainer.small.label_sets import captions_with_sets, nearest_sets
from trainer.small.mixtures import write_mixtures
from trainer.small.real import HELD_OUT_SOURCES, RealSounds
from trainer.small.start import class_names

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE = 16_000
NAMES = "Speech Silence Animal Dog Rain Music Cat Wind Engine Bell".split()
KINDS = {"Animal": ["Dog"]}
VOICES = ["Male speech, man speaking", "Female speech, woman speaking"]
WORDS = "[PAD] [UNK] [CLS] [SEP] [unused0] dog rain man woman speaking a and music".split()
CLIPS = [  # path, texts, labels, kind, gender
    *[(f"clips/a/dog{n}.flac", "a dog", ["Dog"], "sound", None) for n in range(2)],
    *[(f"clips/a/rain{n}.flac", "rain", ["Rain"], "sound", None) for n in range(2)],
    *[(f"clips/b/man{n}.flac", "a man speaking", ["Speech"], "speech", "male") for n in range(2)],
    *[(f"clips/b/woman{n}.flac", "a woman", ["Speech"], "speech", "female") for n in range(2)],
    ("clips/a/music.flac", "music", ["Music"], "music", None),
    (f"{HELD_OUT_SOURCES[0]}-en/hello.flac", "hello", ["Speech"], "speech", "female"),
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("sources")
    return Sources(
        material=write_material(folder / "material"),
        untrained=write_untrained(folder),
        audiocaps=write_csv(
            folder / "captions.csv",
            ["youtube_id", "caption"],
            [["one", "a dog and rain"], ["two", "a dog"], ["three", "music"]],
        ),
        label_sets=write_csv(
            folder / "sets.csv",
            ["youtube_id", "label_ids"],
            [["one", "Dog Rain"], ["x", "Music"], ["y", "Dog"], ["z", "Gone"], ["w", VOICE_ID]],
        ),
        ontology=write_ontology(folder / "ontology.json"),
    )


VOICE_ID = "man"


def write_material(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = []
    for path, text, labels, kind, gender in CLIPS:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        sound = 0.3 * rng.standard_normal(RATE).astype(np.float32)
        soundfile.write(folder / path, sound.clip(-1, 1), RATE)
        line = {"path": path, "source": path.split("/")[1], "texts": [text], "labels": labels}
        lines.append({**line, "kind": kind, **({"gender": gender} if gender else {})})
    (folder / "clips.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_mixtures(folder, lines, 12, seed=0)
    return folder


def write_untrained(folder: Path) -> Path:
    """Random weights in the shapes of the bases; to it nothing is ever just silence or speech."""
    torch.manual_seed(0)
    yamnet = YamnetModel().state_dict()
    bias = torch.tensor([3.0, -9.0, *[-4.0] * 8])
    classifier = {"classifier.weight": 0.1 * torch.randn(len(NAMES), 1024), "classifier.bias": bias}
    save_file(yamnet | classifier, folder / "yamnet.safetensors")
    write_csv(folder / "classes.csv", ["display_name"], [[name] for name in NAMES])
    minilm = folder / "minilm"
    BertModel(
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
    ).save_pretrained(minilm)
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(WORDS[:5])
    tokenizer.save(str(minilm / "tokenizer.json"))
    start(folder / "yamnet.safetensors", folder / "classes.csv", minilm, folder / "untrained")
    return folder / "untrained"


def write_ontology(path: Path) -> Path:
    names = {**{name: name for name in NAMES}, VOICE_ID: VOICES[0], "woman": VOICES[1]}
    kinds = {**KINDS, "Speech": [VOICE_ID, "woman"]}
    entries = [
        {"id": one, "name": name, "child_ids": kinds.get(one, [])} for one, name in names.items()
    ]
    path.write_text(json.dumps(entries))
    return path


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.fixture(scope="module")
def built(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built")
    build(sources, out, Amounts(captions=2, named=4, scenes=6))
    return out


def test_every_pair_can_be_read_with_its_sounds(built: Path) -> None:
    files = find_model(str(built / "start"))
    cache = FrameCache.of(load_model(files, torch.float32, "cpu"), built / "frames", LONGEST_S)
    found = {path.stem: PairFile(path) for path in built.glob("*.jsonl")}

    assert set(found) == {
        *("clips", "held_out", "scenes", "questions"),
        *("virtual_scenes", "virtual_questions", "additions", "captions", "names"),
    }
    for name, file in found.items():
        sounds = [ref for pair, _ in file.pairs() for ref in sounds_of(pair)]
        filled = cache.fill(sounds)
        assert sounds, name
        assert not filled.failed, name
        assert name == "held_out" or not filled.encoded, name  # heard when they were made


def test_what_is_held_out_is_not_taught(built: Path, sources: Sources) -> None:
    def heard(name: str) -> set[str]:
        pairs = PairFile(built / f"{name}.jsonl").pairs()
        return {ref.path.name for pair, _ in pairs for ref in sounds_of(pair)}

    held_out = heard("held_out")
    assert held_out
    assert not held_out & (heard("clips") | heard("questions"))
    assert "hello.flac" not in held_out | heard("clips")
    real = RealSounds(sources.material, built / "clips.jsonl")
    for scene in real.scenes:
        assert not {Path(part.clip).name for part in (scene.front, scene.behind)} & held_out
    assert not {Path(path).name for path in real.genders()} & (held_out | {"hello.flac"})


def test_the_start_knows_voices_and_is_a_model(built: Path, sources: Sources) -> None:
    files = find_model(str(built / "start"))
    model = load_model(files, torch.float32, "cpu")

    assert class_names(model.config) == [*NAMES, *VOICES]
    before = load_file(sources.untrained / "adapter.safetensors")
    after = load_file(built / "start" / "adapter.safetensors")
    assert torch.equal(
        after["audio_projector.words"][: len(NAMES)], before["audio_projector.words"]
    )
    embeddings = model.language_model.get_input_embeddings().weight
    man, speaking = (embeddings[WORDS.index(word)] for word in ("man", "speaking"))
    assert torch.equal(model.audio_projector.words[len(NAMES), :2], torch.stack([man, speaking]))
    encoder = ALM2VecEncoder(files, dtype="float32")
    named = torch.from_numpy(encoder.encode_query(text=["man speaking"]))[0]
    torch.testing.assert_close(
        model.audio_projector.relevance.names[len(NAMES)], named, atol=1e-3, rtol=0
    )


def test_voices_are_not_put_in_twice(built: Path, sources: Sources, tmp_path: Path) -> None:
    again = Sources(
        sources.material, built / "start", sources.audiocaps, sources.label_sets, sources.ontology
    )
    with pytest.raises(TrainingError, match="has classes for voices already"):
        build(again, tmp_path / "again", Amounts(1, 1, 1))


def test_the_same_comes_of_it_each_time(built: Path, sources: Sources, tmp_path: Path) -> None:
    build(sources, tmp_path, Amounts(captions=2, named=4, scenes=6))

    for path in built.glob("virtual*.jsonl"):
        assert (tmp_path / path.name).read_text() == path.read_text()


def test_captions_have_the_set_of_their_clip_or_one_that_reads_alike(
    built: Path, sources: Sources
) -> None:
    encoder = ALM2VecEncoder(find_model(str(built / "start")), dtype="float32")
    rng = np.random.default_rng(0)
    sets = {"one": ["Dog", "Rain"], "x": ["Music"]}

    found = captions_with_sets(sources.audiocaps, sets, 5, encoder, rng)

    assert found[:2] == [("a dog and rain", ["Dog", "Rain"])] * 2
    assert sorted(caption for caption, _ in found[2:]) == ["a dog", "music"]
    chosen = nearest_sets(["music"] * 60, [["Dog", "Rain"], ["Music"]], encoder, rng)
    assert chosen.count(["Music"]) > 30
