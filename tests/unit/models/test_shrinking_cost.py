"""What layers cost: the timed graph is an encoder's, and times are measured once."""

import json
from math import erf

import numpy as np
import pytest
from onnx import numpy_helper

from polyhead.inference.options import DISABLED_OPTIMIZERS, cpu_session_options
from polyhead.system.onnx_runtime import ort
from polyhead_models.shrinking.anatomy import EncoderShape
from polyhead_models.shrinking.cost import attention_sizes, ffn_sizes, layer_costs
from polyhead_models.shrinking.timed_graph import INPUT, encoder_graph

SHAPE = EncoderShape(layers=2, ffn=96, attention_heads=3)
SIZES = {"hidden": 48, "head_size": 32, "heads": 2}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "polyhead" / "costs"


def measured(lengths=(3, 5, 9)):
    return layer_costs(SHAPE, lengths=lengths, **SIZES)


@pytest.fixture
def frozen(monkeypatch):
    """Called, it lets no session be made any more."""

    def refuse(*_, **__):
        raise AssertionError("measured again")

    return lambda: monkeypatch.setattr(ort, "InferenceSession", refuse)


def test_costs_are_times():
    costs = measured()
    assert list(costs.attention) == [2, 3]
    assert list(costs.ffn) == [64, 96]
    assert min(*costs.attention.values(), *costs.ffn.values(), costs.rest) > 0


def test_each_layer_costs_the_same_and_the_rest_is_there_once():
    costs = measured()
    one, two, three = (
        costs.seconds(EncoderShape(layers=layers, ffn=96, attention_heads=3))
        for layers in (1, 2, 3)
    )
    assert two - one == pytest.approx(three - two)
    assert one - (two - one) == pytest.approx(costs.rest)


def test_a_second_plan_measures_nothing(frozen):
    first = measured()
    frozen()
    assert measured() == first
    with pytest.raises(AssertionError, match="measured again"):
        measured(lengths=(3, 5, 20))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda table: "", id="empty"),
        pytest.param(lambda table: "\0\xff{", id="no JSON"),
        pytest.param(lambda table: "[]", id="no table"),
        pytest.param(
            lambda table: table | {"asked": table["asked"] | {"cpu": "6502"}}, id="foreign"
        ),
        pytest.param(lambda table: table | {"ffn": table["ffn"][1:]}, id="a time too few"),
        pytest.param(lambda table: table | {"rest": 0}, id="no time"),
        pytest.param(lambda table: table | {"rest": None}, id="null"),
    ],
)
def test_a_file_that_cannot_be_used_is_measured_anew(frozen, cache, change):
    measured()
    (file,) = cache.iterdir()
    whole = json.loads(file.read_text())
    changed = change(whole)
    file.write_text(changed if isinstance(changed, str) else json.dumps(changed))
    assert measured().rest > 0
    repaired = json.loads(file.read_text())
    assert (repaired.keys(), repaired["asked"]) == (whole.keys(), whole["asked"])
    frozen()
    measured()


def test_no_cache_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert measured().rest > 0


def test_sizes_are_multiples_of_64_channels_and_the_teacher_s_own():
    assert ffn_sizes(200) == [64, 128, 192, 200]
    assert ffn_sizes(48) == [48]
    assert attention_sizes(5, 32) == [2, 4, 5]
    assert attention_sizes(3, 64) == [1, 2, 3]


def test_many_sizes_are_read_between_those_that_are_timed(monkeypatch):
    many = EncoderShape(layers=1, ffn=64 * 12, attention_heads=2)
    costs = layer_costs(many, hidden=16, head_size=32, lengths=[4])
    assert (len(costs.ffn), min(costs.ffn), max(costs.ffn)) == (9, 64, 768)
    left_out = next(size for size in ffn_sizes(many.ffn) if size not in costs.ffn)
    below, above = (
        costs.seconds(EncoderShape(layers=1, ffn=size, attention_heads=2))
        for size in (left_out - 64, left_out + 64)
    )
    between = costs.seconds(EncoderShape(layers=1, ffn=left_out, attention_heads=2))
    assert between == pytest.approx((below + above) / 2)


def normed(x):
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-12)


def linear(weights, name, x):
    """What a float linear gives for an activation that was rounded to u8."""
    rounded = (np.clip(np.rint(x / weights[f"{name}/2"]) + 128, 0, 255) - 128) * 4 / 128
    return rounded @ (weights[f"{name}/1"] * weights[f"{name}/3"]) + weights[f"{name}/6"]


def layer(weights, number, x, attention_heads):
    q, k, v = (
        linear(weights, f"{number}/attention/{part}", x).reshape(len(x), attention_heads, -1)
        for part in "qkv"
    )
    scores = np.exp(np.einsum("qhc,khc->hqk", q, k))
    mixed = np.einsum("hqk,khc->qhc", scores / scores.sum(axis=-1, keepdims=True), v)
    x = normed(x + linear(weights, f"{number}/attention/out", mixed.reshape(len(x), -1)))
    neurons = linear(weights, f"{number}/ffn/up", x)
    neurons = neurons * (1 + np.vectorize(erf)(neurons / np.sqrt(2))) / 2
    return normed(x + linear(weights, f"{number}/ffn/down", neurons))


def test_the_timed_graph_computes_the_layers_of_an_encoder():
    shape = {"layers": 2, "attention_heads": 3, "ffn": 64}
    model = encoder_graph(hidden=48, head_size=16, tokens=8, heads=2, **shape)
    session = ort.InferenceSession(
        model.SerializeToString(),
        cpu_session_options(),
        providers=["CPUExecutionProvider"],
        disabled_optimizers=list(DISABLED_OPTIMIZERS),
    )
    ids = np.array([[7, 300, 7, 1000, 12]])
    found = session.run(None, {INPUT: ids})

    weights = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    x = normed(weights["words/rows/0"][ids[0]] / 64)
    for number in range(2):
        x = layer(weights, number, x, attention_heads=3)
    for head, logits in enumerate(found):
        expected = x @ weights[f"head/{head}/product/1"]
        assert logits.shape == (1, 5, 16)
        assert np.abs(logits[0] - expected).max() < 0.01 * expected.std()


@pytest.mark.parametrize("width", [64, 96])
def test_every_int8_weight_is_within_the_range_that_every_cpu_multiplies_exactly(width):
    model = encoder_graph(hidden=32, head_size=16, tokens=4, layers=1, attention_heads=2, ffn=width)
    int8 = [w for w in map(numpy_helper.to_array, model.graph.initializer) if w.dtype == np.int8]
    assert max(np.abs(weight.astype(int)).max() for weight in int8) == 64
