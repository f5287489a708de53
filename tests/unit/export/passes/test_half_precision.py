import numpy as np
import onnx_ir as ir
import pytest

from polyhead_export.passes.clean import clean
from polyhead_export.passes.half_precision import HalfPrecision

ATTENTION = "Attention<q_num_heads = 2, kv_num_heads = 2>"
LAYER = f"""layer (int64[batch, tokens] ids) => (float[batch, tokens, 4] y) {{
    x = Gather(words, ids)
    a = {ATTENTION}(x, x, x)
    s = Add(a, bias)
    n = LayerNormalization(s, scale)
    y = MatMul(n, w)
}}"""
SCORES = """scores (float[batch, tokens, 8] x) => (float[batch, tokens, 8] y) {
    p = Mul(x, scale)
    q = Softmax(p)
    y = Mul(q, scale)
}"""


@pytest.fixture
def layer(parse, random):
    """The last node is a head's, the others the encoder's."""

    def make(**changed):
        model = parse(
            LAYER,
            **{
                "words": random.normal(size=(10, 8)).astype(np.float32),
                "bias": random.normal(size=8).astype(np.float32),
                "scale": np.ones(8, np.float32),
                "w": random.normal(size=(8, 4)).astype(np.float32),
                **changed,
            },
        )
        for node in model.graph:
            node.name = f"encoder.{node.name}" if node.op_type != "MatMul" else f"heads.{node.name}"
        return model

    return make


def half(model, *keep):
    modified = HalfPrecision(keep)(model).modified
    clean()(model)
    return modified


def types(model):
    return {node.op_type: node.outputs[0].dtype.name for node in model.graph}


def test_the_encoder_is_half_and_the_head_is_not(layer, show):
    model = layer()
    assert show(model) == [
        "x = Gather(words, ids)",
        "a = Attention<kv_num_heads=2, q_num_heads=2>(x, x, x)",
        "s = Add(a, bias)",
        "n = LayerNormalization(s, scale)",
        "y = MatMul(n, w)",
    ]
    assert half(model)
    assert show(model) == [
        "x = Gather(words/fp16, ids)",
        "a = Attention<kv_num_heads=2, q_num_heads=2, softmax_precision=1>(x, x, x)",
        "s = Add(a, bias/fp16)",
        "n = LayerNormalization(s, scale/fp16)",
        "n/fp32 = Cast<to=1>(n)",
        "y = MatMul(n/fp32, w)",
    ]
    encoder = dict.fromkeys(["Gather", "Attention", "Add", "LayerNormalization"], "FLOAT16")
    assert types(model) == {**encoder, "Cast": "FLOAT", "MatMul": "FLOAT"}
    assert model.graph.outputs[0].dtype == ir.DataType.FLOAT


def test_weights_of_the_encoder_take_half_the_room(layer):
    model = layer()
    half(model)
    dtypes = {name: value.dtype.name for name, value in model.graph.initializers.items()}
    assert dtypes.pop("w") == "FLOAT"
    assert set(dtypes.values()) == {"FLOAT16"}


def test_the_numbers_stay_within_what_fp16_resolves(layer, run, random):
    ids = random.integers(0, 10, (3, 7))
    model = layer()
    expected = run(model, ids=ids)
    half(model)
    np.testing.assert_allclose(run(model, ids=ids), expected, rtol=0, atol=2e-2)
    assert np.abs(run(model, ids=ids) - expected).max() > 0


def test_attention_computes_its_softmax_in_fp32(layer):
    model = layer()
    half(model)
    (node,) = (node for node in model.graph if node.op_type == "Attention")
    assert node.attributes["softmax_precision"].as_int() == ir.DataType.FLOAT


@pytest.mark.parametrize("size", [7e4, -7e4, np.inf, np.nan], ids=str)
def test_a_node_with_a_constant_that_fp16_cannot_hold_stays(layer, ops, size):
    model = layer(bias=np.full(8, size, np.float32))
    half(model)
    assert ops(model) == "Gather Attention Cast Add Cast LayerNormalization Cast MatMul"
    assert types(model)["Add"] == "FLOAT"


def test_the_largest_number_of_fp16_still_fits(layer):
    model = layer(bias=np.full(8, 65504, np.float32))
    half(model)
    assert types(model)["Add"] == "FLOAT16"


def test_a_node_that_the_caller_names_stays(layer):
    model = layer()
    half(model, "encoder.Add_2")
    assert types(model)["Add"] == "FLOAT"


def test_a_softmax_stays_with_one_cast_a_side(parse, ops):
    model = parse(SCORES, scale=np.ones(8, np.float32))
    for node in model.graph:
        node.name = f"encoder.{node.name}"
    half(model)
    assert ops(model) == "Cast Mul Cast Softmax Mul"
    assert model.graph.outputs[0].dtype == ir.DataType.FLOAT


def test_a_graph_without_an_encoder_is_left_alone(parse):
    model = parse(SCORES, scale=np.ones(8, np.float32))
    assert not half(model)
