"""Families that tell the texts of a pair apart by separators alone have one input."""

import numpy as np
import pytest
import torch

from polyhead.heads import HeadSpec
from polyhead.inference.session import OnnxSession
from polyhead_export import graphs
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.config import HeadConfig
from polyhead_models.model import TorchBackend

PAIR = ("question", "text")
HEADS = {
    "fits": HeadConfig(kind="classification", data="mail", text=PAIR, target="fits"),
    "answer": HeadConfig(kind="answer", data="mail", text=PAIR, target="answers"),
}
SPECS = {
    "fits": HeadSpec(
        kind="classification.v1",
        output="logits/fits",
        labels=("no", "yes"),
        pooling="mean",
        input="pair",
        max_tokens=40,
    ),
    "answer": HeadSpec(kind="answer.v1", output="logits/answer", input="pair", max_tokens=40),
}
TINY = {
    "roberta": {"type_vocab_size": 1, "pad_token_id": 1},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
}


@pytest.mark.parametrize("family", TINY)
def test_families_without_token_types_are_given_none(family, tmp_path):
    torch.manual_seed(3)
    plain = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes = {"vocab_size": 128, "max_position_embeddings": 42, "intermediate_size": 64}
    settings = {"model_type": family, **sizes, **plain, **TINY[family]}
    if family == "distilbert":
        settings = {k: v for k, v in settings.items() if k not in {*plain, "intermediate_size"}}
    model = checkpoints.assemble(encoders.build(settings), SPECS, HEADS).eval()
    path = tmp_path / "float.onnx"
    graphs.save(graphs.float_graph(model, max_tokens=40), path)
    session = OnnxSession(path)
    assert session.inputs == ("input_ids",)
    feeds = {"input_ids": np.arange(5, 17).reshape(2, 6)}
    outputs = [spec.output for spec in SPECS.values()]
    found, expected = session.run(outputs, feeds), TorchBackend(model).run(outputs, feeds)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
