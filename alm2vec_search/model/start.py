"""The small model as training finds it: two bases, and a projector that works from the start.

    python -m alm2vec_search.model.start YAMNET.safetensors CLASS_MAP.csv MINILM_FOLDER OUT_FOLDER

writes a model's folder: the bases in half precision, in shards of their own, and what training
changes (the projector, and the language model's queries, keys and values) in `adapter.safetensors`.
`trainer.small.ship` writes the trained model in the same way.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoConfig

from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
from alm2vec_search.model.processing_alm2vec import ALM2VecProcessor, ModelInput
from alm2vec_search.model.projector import SoftWordProjector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

NUM_WORDS = 8
SILENCE = "Silence"  # AudioSet's name for it
PIECES_PER_WORD = 3
ADAPTER = "adapter.safetensors"
SHARDS = {  # by how names begin; the first that fits
    r"language_model\..*\.(query|key|value)\.weight$": ADAPTER,
    r"audio_encoder\.": "base-audio-encoder.safetensors",
    r"language_model\.": "base-language-model.safetensors",
    r"": ADAPTER,
}


def start(yamnet: Path, class_map: Path, minilm: Path, out: Path) -> None:
    """Write the untrained small model to `out`."""
    with class_map.open(newline="", encoding="utf-8") as file:
        names = [row["display_name"] for row in csv.DictReader(file)]
    text_config = AutoConfig.from_pretrained(minilm)
    text_config.name_or_path = ""  # a folder of this machine
    config = ALM2VecConfig(
        projector_config={
            "kind": "soft_words",
            "num_classes": len(names),
            "num_words": NUM_WORDS,
            "pieces_per_word": PIECES_PER_WORD,
            "silence": names.index(SILENCE) if SILENCE in names else None,
        },
        text_config=text_config,
        id2label=dict(enumerate(names)),
        architectures=["ALM2VecModel"],
    )
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()

    model = ALM2VecModel(config)
    encoder = load_file(yamnet)
    projector = model.audio_projector
    assert isinstance(projector, SoftWordProjector)
    projector.detector.weight.data = encoder.pop("classifier.weight")
    projector.detector.bias.data = encoder.pop("classifier.bias")
    model.audio_encoder.load_state_dict(encoder)
    language = load_file(minilm / "model.safetensors")
    unused = ("pooler.", "embeddings.position_ids")
    model.language_model.load_state_dict(
        {key: value for key, value in language.items() if not key.startswith(unused)}
    )
    embeddings = model.language_model.get_input_embeddings().weight.data
    for row, name in enumerate(names):
        pieces = soft_word(name, tokenizer, embeddings, projector.words.shape[1])
        projector.words.data[row, : len(pieces)] = pieces
        projector.words_used[row, len(pieces) :] = 0
    start_relevance(model, names, tokenizer)

    out.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(out)
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    save_shards(model.state_dict(), out)


@torch.no_grad()
def start_relevance(model: ALM2VecModel, names: list[str], tokenizer: Tokenizer) -> None:
    """Let a question be compared with the names of the sounds as the language model reads both;
    whatever it is, it isn't turned, and narrows nearly all the way."""
    projector = model.audio_projector
    assert isinstance(projector, SoftWordProjector)
    relevance = projector.relevance
    processor = ALM2VecProcessor(tokenizer, model.config, model.count_audio_tokens)
    model.eval()
    for row, name in enumerate(names):
        relevance.names.data[row] = model(**processor([ModelInput(name.lower(), None, "")]))[0]
    relevance.turn.weight.data.zero_()
    relevance.strength.weight.data.zero_()
    relevance.strength.bias.data.fill_(2.0)
    last = projector.shade[-1]
    assert isinstance(last, torch.nn.Linear)
    last.weight.data.zero_()
    last.bias.data.zero_()


def soft_word(name: str, tokenizer: Tokenizer, embeddings: Tensor, most: int) -> Tensor:
    """The embeddings of a class name's word pieces [at most `most`, H].

    Punctuation and repeated pieces are left out; a longer name has neighbours averaged.
    """
    plain = re.sub(r"[^\w\s]", " ", name.lower())
    ids = list(dict.fromkeys(tokenizer.encode(plain, add_special_tokens=False).ids))
    groups = torch.tensor_split(embeddings[ids], min(most, len(ids)))
    return torch.stack([group.mean(dim=0) for group in groups])


def save_shards(tensors_by_name: Mapping[str, Tensor], out: Path) -> None:
    """Write tensors in half precision, each to its shard, and the index that finds them."""
    shards: dict[str, dict[str, Tensor]] = {name: {} for name in SHARDS.values()}
    for key, tensor in tensors_by_name.items():
        shard = next(name for pattern, name in SHARDS.items() if re.match(pattern, key))
        shards[shard][key] = tensor.half().contiguous()
    for name, tensors in shards.items():
        save_file(tensors, out / name, metadata={"format": "pt"})
        (out / name).chmod(0o644)
    weight_map = {key: name for name, tensors in shards.items() for key in tensors}
    size = sum(tensor.nbytes for tensors in shards.values() for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    start(*map(Path, sys.argv[1:]))
