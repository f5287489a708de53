"""Encoder-decoder families of transformers: their encoders, and their decoders' weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from polyhead.bundle import Generation, limits
from polyhead_models.generation.decoder import DecoderStack
from polyhead_models.generation.shape import DecoderShape

FAMILIES = ("t5", "mt5", "bart", "mbart", "pegasus", "marian")
_T5 = ("t5", "mt5")
_ENCODERS = {
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "bart": "BartModel",
    "mbart": "MBartModel",
    "pegasus": "PegasusModel",
    "marian": "MarianModel",
}
"""The classes whose `encoder` these are; of T5 there is one without a decoder."""

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
_LONGEST, _USUAL = 512, 20
# Names of theirs by ours; in a layer, then outside of layers.
_BART_LAYER = {
    **{
        f"{own}.{ours}": f"{theirs}.{part}"
        for own, theirs in (("own", "self_attn"), ("cross", "encoder_attn"))
        for ours, part in (
            ("query", "q_proj"),
            ("key", "k_proj"),
            ("value", "v_proj"),
            ("outer", "out_proj"),
        )
    },
    "inner": "fc1",
    "outer": "fc2",
    "norms.0": "self_attn_layer_norm",
    "norms.1": "encoder_attn_layer_norm",
    "norms.2": "final_layer_norm",
}
_T5_LAYER = {
    **{
        f"{own}.{ours}": f"{theirs}.{part}"
        for own, theirs in (("own", "layer.0.SelfAttention"), ("cross", "layer.1.EncDecAttention"))
        for ours, part in (("query", "q"), ("key", "k"), ("value", "v"), ("outer", "o"))
    },
    "inner": "layer.2.DenseReluDense.wi",
    "outer": "layer.2.DenseReluDense.wo",
    "norms.0": "layer.0.layer_norm",
    "norms.1": "layer.1.layer_norm",
    "norms.2": "layer.2.layer_norm",
}
_T5_GATED = {
    "inner": "layer.2.DenseReluDense.wi_0",
    "gate": "layer.2.DenseReluDense.wi_1",
}


def has_decoder(config: PretrainedConfig) -> bool:
    """Whether the family is one of encoders with a decoder of their own that is known here."""
    return config.model_type in FAMILIES


def build_encoder(config: PretrainedConfig, attention: str) -> PreTrainedModel:
    """The encoder of such a family with random weights.

    Args:
        config: of the whole model.
        attention: transformers' name of the implementation.
    """
    made: Any = getattr(transformers, _ENCODERS[config.model_type])
    model = made._from_config(config, attn_implementation=attention, dtype=torch.float32)
    return encoder_of(model)


def encoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """The encoder of a model of such a family; it reads ids and a mask, and gives hidden states."""
    found: PreTrainedModel = model.get_encoder()
    return found


def load(place: str, *, attention: str = "eager") -> PreTrainedModel:
    """The whole model with its language-model head, in evaluation mode.

    Args:
        place: a folder, or the id of a model on the hub.
        attention: transformers' name of the implementation.

    Raises:
        OSError, ValueError: when there is none.
    """
    made = transformers.AutoModelForSeq2SeqLM.from_pretrained(
        place, attn_implementation=attention, dtype=torch.float32, trust_remote_code=False
    )
    return made.eval()  # type: ignore[no-any-return]


def decoder_of(model: PreTrainedModel) -> DecoderStack:
    """The decoder of a model with its language-model head, as ours with the same weights.

    Raises:
        ValueError: when it has a part that is not known here; says which.
    """
    shape = _shape(model)
    made = DecoderStack(shape)
    made.load_state_dict(_state(model, shape))
    made.eval()
    return made


def _shape(model: Any) -> DecoderShape:
    config, weight = model.config, model.get_output_embeddings().weight
    embedding = model.get_decoder().get_input_embeddings().weight
    common: dict[str, Any] = {
        "vocabulary": len(weight),
        "width": config.d_model,
        "tied": weight.data_ptr() == embedding.data_ptr() or torch.equal(weight, embedding),
    }
    if len(embedding) != len(weight):
        raise ValueError(
            f"its decoder reads {len(embedding)} tokens and scores {len(weight)}, expected as many"
        )
    if config.model_type in _T5:
        # mT5 ships untied; transformers 5 has no factor for it, whatever its configuration says.
        scaled = getattr(config, "scale_decoder_outputs", config.tie_word_embeddings)
        scaled = scaled and config.model_type == "t5"
        return DecoderShape(
            **common,
            layers=config.num_decoder_layers,
            heads=config.num_heads,
            head_size=config.d_kv,
            inner=config.d_ff,
            activation=_activation(config.dense_act_fn),
            gated=config.is_gated_act,
            norm="rms",
            epsilon=config.layer_norm_epsilon,
            bias=False,
            positions="relative",
            places=config.relative_attention_num_buckets,
            farthest=config.relative_attention_max_distance,
            attention_scale=1.0,
            score_scale=config.d_model**-0.5 if scaled else 1.0,
            dropout=config.dropout_rate,
        )
    table = model.get_decoder().embed_positions
    heads = config.decoder_attention_heads
    return DecoderShape(
        **common,
        layers=config.decoder_layers,
        heads=heads,
        head_size=config.d_model // heads,
        inner=config.decoder_ffn_dim,
        activation=_activation(config.activation_function),
        norm_first=config.model_type in ("mbart", "pegasus"),
        positions="learned" if config.model_type in ("bart", "mbart") else "fixed",
        places=len(table.weight),
        offset=int(getattr(table, "offset", 0)),
        embedding_scale=math.sqrt(config.d_model) if config.scale_embedding else 1.0,
        attention_scale=(config.d_model // heads) ** -0.5,
        embedding_norm=config.model_type in ("bart", "mbart"),
        last_norm=config.model_type in ("mbart", "pegasus"),
        score_bias=True,
        dropout=config.dropout,
    )


def _activation(name: str) -> Any:
    if name not in _ACTIVATIONS:
        raise ValueError(f"its decoder has the activation {name!r}; known: {list(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def _state(model: Any, shape: DecoderShape) -> dict[str, Tensor]:
    """The weights of a decoder under our names."""
    theirs: Mapping[str, Tensor] = model.get_decoder().state_dict()
    t5 = model.config.model_type in _T5
    layer = {**_T5_LAYER, **(_T5_GATED if shape.gated else {})} if t5 else _BART_LAYER
    found = {}
    for i in range(shape.layers):
        for ours, name in layer.items():
            for kind in ("weight", "bias"):
                key = f"{'block' if t5 else 'layers'}.{i}.{name}.{kind}"
                if key in theirs:
                    found[f"layers.{i}.{ours}.{kind}"] = theirs[key]
    bias = "block.0.layer.0.SelfAttention.relative_attention_bias"
    modules = {
        "embedding": "embed_tokens",
        "positions": bias if t5 else "embed_positions",
        "embedding_norm": "layernorm_embedding",
        "last_norm": "final_layer_norm" if t5 else "layer_norm",
    }
    for ours, name in modules.items():
        for kind in ("weight", "bias"):
            if f"{name}.{kind}" in theirs:
                found[f"{ours}.{kind}"] = theirs[f"{name}.{kind}"]
    if not shape.tied:
        found["output.weight"] = model.get_output_embeddings().weight.detach()
    if shape.score_bias:
        found["score_bias"] = model.final_logits_bias[0]
    return found


def generation_of(model: Any, shape: DecoderShape, known: int) -> Generation:
    """How such a model writes, by its own settings: tokens, limits and search.

    Args:
        model: with its language-model head.
        shape: of its decoder.
        known: tokens of its tokenizer; rows of the embedding beyond them are never written.

    Raises:
        ValueError: when it has no start or end token, or a setting that is not known here.
    """
    settings, config = model.generation_config, model.config
    start = _first(settings.decoder_start_token_id, getattr(config, "decoder_start_token_id", None))
    ends = settings.eos_token_id
    if start is None:
        raise ValueError("decoder_start_token_id: none is set, so that no answer can begin")
    if ends is None:
        raise ValueError("eos_token_id: none is set, so that no answer would end")
    limit = shape.places - shape.offset if shape.positions != "relative" else _LONGEST
    stated = settings.max_new_tokens or ((settings.max_length or _USUAL + 1) - 1)
    least = settings.min_new_tokens or max((settings.min_length or 0) - 1, 0)
    forced = settings.forced_bos_token_id
    words = list(settings.bad_words_ids or ())
    if longer := [word for word in words if len(word) > 1]:
        raise ValueError(f"bad_words_ids: found {longer[0]}; single tokens can be suppressed")
    never = {word[0] for word in words} | set(settings.suppress_tokens or ())
    never |= set(range(known, shape.vocabulary))
    limit = min(limit, limits.ANSWER_TOKENS.most)
    return Generation(
        vocabulary=shape.vocabulary,
        layers=shape.layers,
        heads=shape.heads,
        head_size=shape.head_size,
        start=int(start),
        end=tuple(ends) if isinstance(ends, list | tuple) else (int(ends),),
        forced=() if forced is None else (int(forced),),
        forced_end=_forced_end(settings.forced_eos_token_id),
        suppressed=tuple(sorted(never)),
        max_tokens=limit,
        default_tokens=max(1, min(int(stated), limit)),
        min_tokens=min(int(least), limit),
        beams=int(settings.num_beams or 1),
        length_penalty=float(_first(settings.length_penalty, 1.0)),
        no_repeat=int(settings.no_repeat_ngram_size or 0),
        early_stopping=_first(settings.early_stopping, False),
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _forced_end(value: Any) -> int | None:
    found = value[0] if isinstance(value, list | tuple) else value
    return None if found is None else int(found)
