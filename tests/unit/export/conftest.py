"""Tiny encoders of three families and the real MiniLM, all with the same heads, traced once."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from polyhead.heads import HeadSpec
from polyhead.tokenizing import Tokenizer
from polyhead_export import graphs
from polyhead_export.calibration import CalibrationTexts
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.config import DataConfig, EncoderConfig, HeadConfig
from polyhead_models.config import Config as TrainingSettings
from polyhead_models.config import TrainingConfig
from polyhead_models.heads import NETWORKS
from polyhead_models.model import MultiHeadModel
from polyhead_models.training import train

MAX_TOKENS = 40
HIDDEN, LAYERS, ATTENTION_HEADS = 32, 2, 4
COMMON = {"vocab_size": 96, "num_labels": 2}
FAMILIES = {
    "bert": {
        "model_type": "bert",
        "vocab_size": 96,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": ATTENTION_HEADS,
        "intermediate_size": 64,
        "max_position_embeddings": MAX_TOKENS,
    },
    "roberta": {
        "model_type": "roberta",
        "vocab_size": 96,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": ATTENTION_HEADS,
        "intermediate_size": 64,
        "max_position_embeddings": MAX_TOKENS + 2,
        "type_vocab_size": 1,
        "pad_token_id": 1,
    },
    "distilbert": {
        "model_type": "distilbert",
        "vocab_size": 96,
        "dim": HIDDEN,
        "n_layers": LAYERS,
        "n_heads": ATTENTION_HEADS,
        "hidden_dim": 64,
        "max_position_embeddings": MAX_TOKENS,
    },
}
LABELS = ("billing", "delivery", "praise")
HEADS = {
    "topic": HeadConfig(kind="classification", data="x", target="topic"),
    "first": HeadConfig(kind="classification", data="x", target="topic", pooling="cls"),
    "highest": HeadConfig(
        kind="classification", data="x", target="topic", pooling="max", hidden=(16,)
    ),
    "entities": HeadConfig(kind="tokens", data="x", target="entities"),
    "embedding": HeadConfig(kind="embedding"),
}
LAYERED = {
    "lower": HeadConfig(kind="classification", data="x", target="topic", layers=1),
    "mixed": HeadConfig(kind="classification", data="x", target="topic", layers="mix"),
}


def with_heads(encoder, heads: dict[str, HeadConfig], max_tokens: int) -> MultiHeadModel:
    specs = {
        name: HeadSpec(
            kind=head.versioned_kind,
            output=f"logits/{name}",
            labels=() if head.kind == "embedding" else LABELS,
            activation=NETWORKS[head.versioned_kind].activation,
            layers=head.layers,
            pooling=head.pooling or NETWORKS[head.versioned_kind].default_pooling,
            max_tokens=max_tokens,
        )
        for name, head in heads.items()
    }
    return checkpoints.assemble(encoder, specs, heads).eval()


def tiny(family):
    torch.manual_seed(7)
    heads = {**HEADS, **LAYERED} if family == "bert" else HEADS
    return with_heads(encoders.build(FAMILIES[family]), heads, MAX_TOKENS)
