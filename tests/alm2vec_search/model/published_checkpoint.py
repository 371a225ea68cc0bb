"""A toy in the format of MiDashengLM's and ALM2Vec's checkpoints, and what it should answer.

Its parts are not ours: the audio encoder is PyPI's `dasheng`, the decoder transformers' own Qwen2
or Qwen3 for generation, and its prompt is tokenized in one piece, as a chat template would have it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from dasheng_reference import reference_encoder
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from alm2vec_search.domain import Waveform

AUDIO = {"embed_dim": 32, "depth": 2, "num_heads": 4}
HIDDEN = 48
TEXT: dict[str, Any] = {
    "vocab_size": 280,
    "hidden_size": HIDDEN,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2_048,
    "rms_norm_eps": 1e-6,
}
ROPE = {"rope_type": "default", "rope_theta": 1e6}
SPECIAL = "<|endoftext|> <|im_start|> <|im_end|> <|AUDIO|> <|audio_bos|> <|audio_eos|>".split()
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MERGES = [("Ġ", "d"), ("o", "g"), ("Ġd", "og"), ("Ċ", "d"), (".", "Ċ"), ("Ċ", "Ċ")]
REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Original:
    """The toy as its makers would run it, one input at a time."""

    audio_encoder: nn.Module
    audio_projector: nn.Module
    decoder: nn.Module
    head: nn.Linear | None
    tokenizer: Tokenizer
    decoder_type: str  # as config.json names it

    @classmethod
    def make(
        cls, *, decoder_type: str = "qwen2_5_omni_text", head_dim: int | None = None, seed: int = 0
    ) -> Original:
        torch.manual_seed(seed)
        kinds: dict[str, Any] = {
            "qwen2_5_omni_text": (Qwen2Config, Qwen2ForCausalLM, {}),
            "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 16}),
        }
        config, model, more = kinds[decoder_type]
        decoder = model(config(**TEXT, **more, rope_parameters=ROPE)).eval()
        with torch.no_grad():
            for name, weights in decoder.named_parameters():
                if name.endswith("bias"):  # which are zero at first
                    weights.normal_(std=0.2)
                elif weights.ndim == 2:  # so that attention is uneven, and positions matter
                    weights.normal_(std=0.15)
        return cls(
            reference_encoder(**AUDIO, seed=seed),
            nn.Sequential(
                nn.Linear(5 * AUDIO["embed_dim"], HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN)
            ),
            decoder,
            None if head_dim is None else nn.Linear(HIDDEN, head_dim, bias=False),
            qwen_tokenizer(),
            decoder_type,
        )

    @torch.inference_mode()
    def embed(self, prompt: str, sound: Waveform | None = None) -> Tensor:
        """The unit vector of a whole prompt, in which `<|AUDIO|>` stands for the sound, if there is
        one."""
        tokens = torch.empty(0, HIDDEN)
        if sound is not None:
            n_samples = max(3_200, len(sound.samples))
            samples = torch.zeros(1, n_samples)
            samples[0, : len(sound.samples)] = torch.from_numpy(sound.samples)
            frames = self.audio_encoder(samples, x_length=torch.tensor([n_samples]))[0]
            n_tokens = (1 + n_samples // 160) // 4 // 5
            tokens = self.audio_projector(frames[: 5 * n_tokens].reshape(n_tokens, -1))
        prompt = prompt.replace("<|AUDIO|>", "<|AUDIO|>" * len(tokens))
        ids = torch.tensor([self.tokenizer.encode(prompt, add_special_tokens=False).ids])
        embeds = self.decoder.get_input_embeddings()(ids)
        embeds[ids == self.tokenizer.token_to_id("<|AUDIO|>")] = tokens
        last = self.decoder.model(inputs_embeds=embeds).last_hidden_state[0, -1]
        return F.normalize(last if self.head is None else self.head(last), dim=-1)

    def tensors(self, *, lm_head: bool = True, front_end: bool = True) -> dict[str, Tensor]:
        """By their published names, and in the published shapes of the front end's buffers."""
        parts = {
            "audio_encoder": self.audio_encoder,
            "audio_projector.net": self.audio_projector,
            "decoder": self.decoder,
        }
        tensors = {
            f"{part}.{name}".replace("init_bn.1.", "init_bn."): tensor
            for part, module in parts.items()
            for name, tensor in module.state_dict().items()
            if "front_end." not in name and (lm_head or "lm_head" not in name)
        }
        if front_end:
            mel = self.audio_encoder.front_end[0]
            tensors["audio_encoder.front_end.0.spectrogram.window"] = mel.window
            tensors["audio_encoder.front_end.0.mel_scale.fb"] = mel.fb
        if self.head is not None:
            tensors["embedding_head.weight"] = self.head.weight.data
        return {name: tensor.clone().contiguous() for name, tensor in tensors.items()}

    def config(self, **fields: Any) -> dict[str, Any]:
        """As MiDashengLM's config.json has it."""
        more = {"head_dim": 16} if self.decoder_type == "qwen3" else {}
        return {
            "model_type": "midashenglm",
            "architectures": ["MiDashengLMModel"],
            "auto_map": {"AutoModel": "modeling_midashenglm.MiDashengLMModel"},
            "audio_encoder_config": {
                **AUDIO,
                "target_length": 1_008,
                "n_fft": 512,
                "hop_size": 160,
                "n_mels": 64,
                "f_max": 8000.0,
            },
            "subsample_factor": 5,
            "audio_token_id": self.tokenizer.token_to_id("<|AUDIO|>"),
            "text_config": {"model_type": self.decoder_type, **TEXT, **more},
            **fields,
        }

    def save(
        self,
        folder: Path,
        *,
        n_shards: int = 7,
        tensors: dict[str, Tensor] | None = None,
        **fields: Any,
    ) -> Path:
        """Write it to a folder; `fields` go into its config.json."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config(**fields)))
        self.tokenizer.save(str(folder / "tokenizer.json"))
        save_shards(self.tensors() if tensors is None else tensors, folder, n_shards)
        return folder


def save_shards(tensors: dict[str, Tensor], folder: Path, n_shards: int) -> None:
    """Spread over so many files, with the index that finds them."""
    files = {
        name: f"model-{place % n_shards + 1:05d}-of-{n_shards:05d}.safetensors"
        for place, name in enumerate(tensors)
    }
    for file in set(files.values()):
        mine = {name: tensor for name, tensor in tensors.items() if files[name] == file}
        save_file(mine, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 0}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def qwen_tokenizer() -> Tokenizer:
    """Qwen's kind of tokenizer, with a handful of merges; some of them over line ends, which Qwen's
    own splitting never lets happen across a turn's first line."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {byte: place for place, byte in enumerate(alphabet)}
    for left, right in MERGES:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def put_into_cache(
    checkpoint: Path, cache: Path, repo_id: str, *, revision: str = REVISION
) -> Path:
    """Lay a checkpoint where a hub's client keeps what it has fetched; its snapshot's folder."""
    repository = cache / f"models--{repo_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / revision
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.rename(snapshot)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(revision)
    return snapshot
