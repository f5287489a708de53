"""Graphs of one model in turns, and the conventional int8 graph that they are compared with."""

import sys

import numpy as np
import onnxruntime as ort
import pytest

from polyhead.bundle import read
from polyhead_bench.errors import PeerFault
from polyhead_bench.graphs import conventional, figures
from polyhead_bench.graphs.race import race
from polyhead_models import checkpoint as checkpoints

SAYS = """
import json, sys
print('{"ready": true}', flush=True)
for line in sys.stdin:
    batch, tokens = json.loads(line)
    print(json.dumps([FACTOR * batch * tokens] * 3), flush=True)
"""


def racer(factor):
    return [sys.executable, "-c", SAYS.replace("FACTOR", str(factor))]


@pytest.fixture(scope="module")
def made(models, tmp_path_factory):
    """A model and its textbook graph."""
    folder = tmp_path_factory.mktemp("graphs")
    model = checkpoints.load(models.checkpoint).model
    source = conventional.unfused(model, folder / "unfused.onnx")
    sizes = {"layers": 2, "heads": 4, "hidden": 32}
    return model, source, conventional.textbook(source, folder / "textbook.onnx", **sizes)


def test_every_graph_has_a_median_for_each_round_and_shape():
    found = race({"a": racer(1), "b": racer(2)}, [(1, 16), (8, 128)], rounds=3)
    assert found == {
        "a": {(1, 16): [16.0] * 3, (8, 128): [1024.0] * 3},
        "b": {(1, 16): [32.0] * 3, (8, 128): [2048.0] * 3},
    }


def test_a_process_that_ends_is_told():
    with pytest.raises(PeerFault, match="b: its process ended with code 3"):
        race({"a": racer(1), "b": [sys.executable, "-c", "exit(3)"]}, [(1, 16)], rounds=1)


def test_a_real_graph_is_timed(models):
    bundle = read(models.bundle)
    command = figures._timer(bundle.file(bundle.manifest.graphs[0]), "runtime")
    (times,) = race({"own": command}, [(2, 8)], rounds=2)["own"].values()
    assert len(times) == 2
    assert min(times) > 0


def test_the_textbook_graph_has_the_fused_int8_operators(made):
    found = conventional.operators(made[2])
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
