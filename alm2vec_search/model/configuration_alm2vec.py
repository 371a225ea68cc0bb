"""What an ALM2Vec model is made of, and how an input is written down for it."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PreTrainedConfig

POOLINGS = ("mean", "eos")
REDUCED = ("audio_encoder", "all")


class ALM2VecConfig(PreTrainedConfig):  # type: ignore[misc]
    """Configuration of `ALM2VecModel` and `ALM2VecProcessor`.

    Args:
        audio_config: the audio encoder; `model_type` names it. `yamnet`, or `dasheng` of some
            `embed_dim`, `depth` and `num_heads`.
        projector_config: from audio frames to the language model's inputs; `kind` names it.
            `soft_words`: `num_classes` detectors, of which the `num_words` most present are said
            in up to `pieces_per_word` word pieces each; `silence` is the class of silent frames.
            `subsample`: `factor` frames to a token.
        text_config: the language model, any text model transformers knows, by its own config.
        pooling: `mean` over the tokens, as MiniLM was trained, or `eos`, the last token's hidden
            state, as in the paper (section 3: decoders).
        embedding_dim: size of the projection after pooling; None leaves the pooled state as it is.
        projection_bias: whether that projection has a bias.
        prompt: how an input is written: the tokenizer's special tokens spelled out, and the slots
            `{instruction}`, `{audio}` and `{text}`, each empty where the input has none.
        audio_token: the token that holds the place of one audio frame or soft word.
        audio_begin: what is written before the audio, if there is any.
        audio_end: what is written after it.
        audio_token_id: what the tokenizer must give for `audio_token`, as a check; it is looked up
            by its string.
        query_instruction: used by `encode_query` when none is given.
        document_instruction: used by `encode_document` when none is given.
        max_tokens: longest sequence; text beyond it is cut, audio and the closing tokens never.
        max_audio_s: the most of a sound that is heard, in seconds from its start; None is all.
        reduced: what computes in the numeric type that is asked for, the rest staying in float32:
            `audio_encoder`, or `all` but the front end and what follows the language model.
    """

    model_type = "alm2vec"

    def __init__(
        self,
        audio_config: dict[str, Any] | None = None,
        projector_config: dict[str, Any] | None = None,
        text_config: dict[str, Any] | PreTrainedConfig | None = None,
        pooling: str = "mean",
        embedding_dim: int | None = None,
        projection_bias: bool = False,
        prompt: str = "[CLS]{instruction}{audio}{text}[SEP]",
        audio_token: str = "[unused0]",
        audio_begin: str = "",
        audio_end: str = "",
        audio_token_id: int | None = None,
        query_instruction: str = "",
        document_instruction: str = "",
        max_tokens: int = 256,
        max_audio_s: float | None = None,
        reduced: str = "audio_encoder",
        **kwargs: Any,
    ) -> None:
        if pooling not in POOLINGS:
            raise ValueError(f"pooling is one of {', '.join(POOLINGS)}, not {pooling!r}")
        if reduced not in REDUCED:
            raise ValueError(f"reduced is one of {', '.join(REDUCED)}, not {reduced!r}")
        self.audio_config = audio_config or {"model_type": "yamnet"}
        self.projector_config = projector_config or {
            "kind": "soft_words",
            "num_classes": 521,
            "num_words": 8,
            "pieces_per_word": 3,
        }
        self.text_config = _text_config(text_config)
        self.pooling = pooling
        self.embedding_dim = embedding_dim
        self.projection_bias = projection_bias
        self.prompt = prompt
        self.audio_token = audio_token
        self.audio_begin = audio_begin
        self.audio_end = audio_end
        self.audio_token_id = audio_token_id
        self.query_instruction = query_instruction
        self.document_instruction = document_instruction
        self.max_tokens = max_tokens
        self.max_audio_s = max_audio_s
        self.reduced = reduced
        super().__init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Of the language model."""
        return int(self.text_config.hidden_size)

    @property
    def output_dim(self) -> int:
        """Of the embeddings."""
        return self.embedding_dim or self.hidden_size

    def to_dict(self) -> dict[str, Any]:
        text_config = self.text_config.to_dict()
        text_config.pop("_name_or_path", None)  # a folder of the machine it was made on
        return {**super().to_dict(), "text_config": text_config}


def _text_config(given: dict[str, Any] | PreTrainedConfig | None) -> PreTrainedConfig:
    if isinstance(given, PreTrainedConfig):
        return given
    fields = dict(given or {"model_type": "bert"})
    return AutoConfig.for_model(fields.pop("model_type"), **fields)
