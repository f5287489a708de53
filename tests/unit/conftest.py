"""Configurations of a tiny encoder of every family that trains and exports."""

from typing import Any

import pytest

MAX_TOKENS = 40
BERT = {
    "vocab_size": 128,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.2,
    "max_position_embeddings": MAX_TOKENS,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {"model_type": "bert", **BERT},
    # RoBERTa counts its positions from the padding id + 1 on.
    "roberta": {
        "model_type": "roberta",
        **BERT,
        "max_position_embeddings": MAX_TOKENS + 2,
        "type_vocab_size": 1,
        "pad_token_id": 1,
    },
    "distilbert": {
        "model_type": "distilbert",
        "vocab_size": 128,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 64,
        "initializer_range": 0.2,
        "max_position_embeddings": MAX_TOKENS,
    },
}
RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
FAMILIES |= {
    "xlm-roberta": {**FAMILIES["roberta"], "model_type": "xlm-roberta"},
    "camembert": {**FAMILIES["roberta"], "model_type": "camembert"},
    "electra": {"model_type": "electra", **BERT, "embedding_size": 16},
    "albert": {"model_type": "albert", **BERT, "embedding_size": 16},
    "mpnet": {
        "model_type": "mpnet",
        **BERT,
        "max_position_embeddings": MAX_TOKENS + 2,
        "pad_token_id": 1,
    },
    # As deberta-v3: relative positions in buckets, and none that are absolute.
    "deberta-v2": {
        "model_type": "deberta-v2",
        **BERT,
        **RELATIVE,
        "position_buckets": 8,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    # As deberta-v2-xlarge: a convolution beside the first layer.
    "deberta-v2-conv": {
        "model_type": "deberta-v2",
        **BERT,
        **RELATIVE,
        "conv_kernel_size": 3,
        "conv_act": "gelu",
    },
    # Layer 0 and 3 see the whole text, the others a window that is shorter than the text.
    "modernbert": {
        "model_type": "modernbert",
        **BERT,
        "num_hidden_layers": 4,
        "local_attention": 8,
        "global_attn_every_n_layers": 3,
        **{f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "cls", "sep")},
    },
    "nomic_bert": {"model_type": "nomic_bert", **BERT, "pad_token_id": 0},
}


@pytest.fixture(scope="session")
def families() -> dict[str, dict[str, Any]]:
    """By name, what `encoders.build` takes; only families that this version of transformers has."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return {name: f for name, f in FAMILIES.items() if f["model_type"] in CONFIG_MAPPING}
