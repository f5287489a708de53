"""Graphs of one model in turns, and the conventional int8 graph that they are compared with."""

import re
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from polyhead.bundle import read
from polyhead_bench.errors import PeerFault
from polyhead_bench.graphs import answers, conventional, peers
from polyhead_bench.graphs.answers import Reference
from polyhead_bench.graphs.race import race
from polyhead_models import checkpoint as checkpoints

SAYS = """
import json, sys
print('{"ready": true}', flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if isinstance(asked, dict):
        print(json.dumps({"logits/x": [[float(i) + OFF for i in asked["ids"][0]]]}), flush=True)
    else:
        print(json.dumps([FACTOR * asked[0] * asked[1]] * 3), flush=True)
"""
REFERENCE = Reference(((5, 6), (7,)), {"logits/x": np.array([5, 6, 7], np.float32)})


def racer(factor, off=0.1, says=SAYS):
    return [sys.executable, "-c", says.replace("FACTOR", str(factor)).replace("OFF", str(off))]


def operators(path):
    """How often each operator stands in a graph."""
    nodes = [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]
    return {name: nodes.count(name) for name in set(nodes)}


@pytest.fixture(scope="module")
def made(models, tmp_path_factory):
    """A model and its textbook graph."""
    folder = tmp_path_factory.mktemp("graphs")
    model = checkpoints.load(models.checkpoint).model
    source = conventional.unfused(model, folder / "unfused.onnx")
    sizes = {"layers": 2, "heads": 4, "hidden": 32}
    return model, source, conventional.textbook(source, folder / "textbook.onnx", **sizes)


def test_every_graph_has_a_median_for_each_round_and_shape():
    found = race({"a": racer(1), "b": racer(2)}, REFERENCE, [(1, 16), (8, 128)], rounds=3)
    assert found.times == {
        "a": {(1, 16): [16.0] * 3, (8, 128): [1024.0] * 3},
        "b": {(1, 16): [32.0] * 3, (8, 128): [2048.0] * 3},
    }
    assert found.faults == {}


def test_errors_are_relative_to_the_logits():
    found = race({"a": racer(1, off=0.5)}, REFERENCE, [(1, 16)], rounds=1)
    assert found.errors["a"]["logits/x"] == pytest.approx((3 * 0.25 / 110) ** 0.5)


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        pytest.param([sys.executable, "-c", "exit('no engine')"], "code 1: no engine", id="start"),
        pytest.param(["no-such-python"], "no-such-python: cannot be started", id="interpreter"),
        pytest.param(racer("sys.exit('out of ideas')"), "code 1: out of ideas", id="crash"),
        pytest.param(racer(1, off=7), r"logits/x is off by 1\.\d+ of its norm", id="wrong"),
        pytest.param(racer(1, off="float('nan')"), "off by nan", id="nan"),
        pytest.param(racer(1, says=SAYS.replace("logits/x", "y")), "no output", id="output"),
        pytest.param(racer(1, says=SAYS.replace("]]})", "] * 2]})")), "6 numbers", id="size"),
        pytest.param(racer(1, says="print('hello')"), r"said 'hello\\n', expected", id="talk"),
    ],
)
def test_a_peer_with_a_fault_has_no_times_and_the_others_go_on(command, fault):
    found = race({"a": racer(1), "b": command}, REFERENCE, [(1, 16)], rounds=2)
    assert found.times == {"a": {(1, 16): [16.0] * 2}}
    assert list(found.faults) == ["b"]
    assert re.search(fault, found.faults["b"])


def test_a_real_graph_gives_the_answers_of_the_model_and_is_timed(models):
    model = checkpoints.load(models.checkpoint).model
    reference = peers.reference(model, models.bundle)
    command = peers.timer(peers.first_graph(models.bundle), "runtime")
    found = race({"own": command}, reference, [(2, 8)], rounds=2)
    assert found.errors["own"]["logits/topic"] < 1e-4
    assert min(found.times["own"][2, 8]) > 0


def test_the_graph_of_another_model_is_told(models):
    model = checkpoints.load(models.checkpoint).model
    reference = peers.reference(model, models.bundle)
    for weights in model.heads.parameters():
        weights.data.neg_()
    other = answers.of_model(model, reference.rows)
    answer = {"logits/topic": other.logits["logits/topic"]}
    with pytest.raises(PeerFault, match=r"off by 2\.00"):
        reference.errors([answer])


def test_golden_texts_are_cut_to_what_the_encoder_reads(models):
    rows = peers.golden_ids(read(models.bundle))
    assert all(2 < len(row) <= 256 for row in rows)


def test_the_textbook_graph_has_the_fused_int8_operators(made):
    found = operators(made[2])
    assert found["QAttention"] == 2
    assert found["MatMulInteger"] >= 6  # two layers: attention's output, both of the feed-forward


def test_the_textbook_graph_gives_about_the_answers_of_the_model(made):
    _, source, textbook = made
    ids = np.arange(5, 17)[None]
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    exact, rounded = (
        ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)[0]
        for path in (source, textbook)
    )
    assert 0 < np.abs(exact - rounded).max() < 0.5 * np.abs(exact).max() + 0.1


def test_a_graph_that_was_not_fused_is_no_peer(made, tmp_path):
    with pytest.raises(PeerFault, match="not 3 layers"):
        conventional.textbook(made[1], tmp_path / "x.onnx", layers=3, heads=4, hidden=32)
