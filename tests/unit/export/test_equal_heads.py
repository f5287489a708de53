"""Heads that begin with the same layer: the written graph has it once, the one in memory twice."""

import copy

import numpy as np
import onnx_ir as ir
import pytest
import torch

from polyhead.heads import HeadSpec
from polyhead.inference.session import OnnxSession
from polyhead_export import graphs, parity
from polyhead_export.quantisation import calibrate as quantisation
from polyhead_export.texts import CalibrationTexts
from polyhead_models import checkpoint as checkpoints
from polyhead_models.config import HeadConfig
from polyhead_models.heads.layers import Dense

# More than 1,024 weights: torch's exporter joins smaller ones by itself.
POOLER = (Dense(width=40, activation="tanh"),)
HEADS = {
    name: HeadConfig(
        kind="classification", data="mail", target="topic", pooling="cls", hidden=POOLER
    )
    for name in ("topic", "mood")
}
TEXTS = tuple(f"anna lives in oslo, parcel {n} is not late" for n in range(16))


@pytest.fixture(scope="module")
def model(make_model):
    """A tiny BERT with two heads whose pooler is the same, as in imported models."""
    specs = {
        name: HeadSpec(
            kind="classification.v1",
            output=f"logits/{name}",
            labels=("a", "b", "c"),
            activation="softmax",
            layers="last",
            pooling="cls",
            max_tokens=40,
        )
        for name in HEADS
    }
    torch.manual_seed(3)
    model = checkpoints.assemble(make_model("bert").encoder, specs, HEADS).eval()
    poolers = [_linear(head) for head in model.heads.values()]
    poolers[1].load_state_dict(poolers[0].state_dict())
    return model


@pytest.fixture(scope="module")
def traced(model):
    """Its float graph; no test changes it."""
    return graphs.float_graph(model, max_tokens=40)


def _linear(head):
    return next(module for module in head.modules() if isinstance(module, torch.nn.Linear))


def _poolers(model):
    weights = [value.const_value for value in model.graph.initializers.values()]
    return [weight for weight in weights if sorted(weight.shape) == [32, 40]]


def test_two_equal_poolers_are_written_as_one(model, traced, tmp_path):
    graphs.save(traced, tmp_path / "float.onnx")
    written = ir.load(tmp_path / "float.onnx")
    assert len(_poolers(written)) == 1
    assert sum(node.op_type == "Tanh" for node in written.graph) == 1
    assert [value.name for value in written.graph.outputs] == ["logits/topic", "logits/mood"]
    parity.check(model, tmp_path / "float.onnx", max_tokens=40)


def test_the_graph_in_memory_keeps_its_own_weights(traced, tmp_path):
    names = [node.name for node in traced.graph], list(traced.graph.initializers)
    graphs.save(traced, tmp_path / "float.onnx")
    assert names == ([node.name for node in traced.graph], list(traced.graph.initializers))
    assert len(_poolers(traced)) == 2


def test_int8_is_the_same_to_the_bit_with_one_pooler(traced, wordpiece, tmp_path):
    calibrated = quantisation.calibrate(
        traced, wordpiece, CalibrationTexts(TEXTS, 0), max_tokens=40
    )
    quantised = graphs.lowered(quantisation.quantised(calibrated, quantisation.Plan()))
    ir.save(quantised, tmp_path / "twice.onnx")
    graphs.save(quantised, tmp_path / "once.onnx")
    twice, once = (OnnxSession(tmp_path / f"{name}.onnx") for name in ("twice", "once"))
    assert once.outputs == twice.outputs
    feeds = {"input_ids": np.arange(30).reshape(2, 15) + 5}
    found = zip(once.run(once.outputs, feeds), twice.run(twice.outputs, feeds), strict=True)
    for a, b in found:
        np.testing.assert_array_equal(a, b)
    assert (tmp_path / "once.onnx").stat().st_size < (tmp_path / "twice.onnx").stat().st_size


def test_two_heads_that_are_the_same_keep_both_outputs(model, wordpiece, tmp_path):
    twin = copy.deepcopy(model)
    topic, mood = twin.heads.values()
    mood.load_state_dict(topic.state_dict())
    traced = graphs.float_graph(twin, max_tokens=40)
    graphs.save(traced, tmp_path / "float.onnx")
    parity.check(twin, tmp_path / "float.onnx", max_tokens=40)
    calibrated = quantisation.calibrate(
        traced, wordpiece, CalibrationTexts(TEXTS, 0), max_tokens=40
    )
    int8 = graphs.lowered(quantisation.quantised(calibrated, quantisation.Plan()))
    graphs.save(int8, tmp_path / "int8.onnx")
    for name in ("float", "int8"):
        session = OnnxSession(tmp_path / f"{name}.onnx")
        assert session.outputs == ("logits/topic", "logits/mood")
        one, other = session.run(session.outputs, {"input_ids": np.arange(30).reshape(2, 15) + 5})
        np.testing.assert_array_equal(one, other)
