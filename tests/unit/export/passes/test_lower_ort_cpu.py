import numpy as np
import pytest

from polyhead_export.passes.clean import clean
from polyhead_export.passes.lower_ort_cpu import LowerToOrtCpu
from polyhead_export.passes.quantise_linears import QuantiseLinears

BIASED = """biased (float[rows, 8] x) => (float[rows, 6] y) {
    product = MatMul(x, w)
    y = Add(product, bias)
}"""
PLAIN = "plain (float[rows, 8] x) => (float[rows, 6] y) { y = MatMul(x, w) }"
SHARED = """shared (float[rows, 8] x) => (float[rows, 6] y) {
    a = MatMul(x, w)
    b = Add(bias, a)
    c = MatMul(x, v)
    y = Add(b, c)
}"""
READ_TWICE = """read_twice (float[rows, 8] x) => (float[rows, 6] y) {
    product = MatMul(x, w)
    biased = Add(product, bias)
    positive = Relu(product)
    y = Mul(biased, positive)
}"""
ALSO_AN_OUTPUT = """both (float[rows, 8] x) => (float[rows, 6] y, float[rows, 6] product) {
    product = MatMul(x, w)
    y = Add(product, bias)
}"""
LOWERED = "QuantizeLinear MatMulIntegerToFloat"


@pytest.fixture
def quantised(parse, random):
    """`quantised(text, bias)`: the graph with QuantizeLinear/DequantizeLinear pairs."""

    def make(text, bias=6):
        weights = {name: random.normal(size=(8, 6)).astype(np.float32) for name in "wv"}
        bias = random.normal(size=bias).astype(np.float32)
        model = parse(text, bias=bias, **weights)
        drawn = {f"MatMul_{i}": random.integers(-64, 65, (8, 6), np.int8) for i in range(3)}
        QuantiseLinears({"x": (-3.0, 3.0)}, drawn)(model)
        return model

    return make


@pytest.fixture
def x(random):
    return random.normal(size=(20, 8)).astype(np.float32)


def lower(model):
    modified = LowerToOrtCpu()(model).modified
    clean()(model)
    return modified


def test_a_linear_with_its_bias_becomes_one_operator(quantised, show):
    model = quantised(BIASED)
    assert show(model) == [
        "x/u8 = QuantizeLinear(x, x/scale, x/zero_point)",
        "x/restored = DequantizeLinear(x/u8, x/scale, x/zero_point)",
        "%0 = DequantizeLinear<axis=1>"
        "(MatMul_0/weight, MatMul_0/weight_scale, MatMul_0/weight_zero_point)",
        "product = MatMul(x/restored, %0)",
        "y = Add(product, bias)",
    ]
    assert lower(model)
    assert show(model) == [
        "x/u8 = QuantizeLinear(x, x/scale, x/zero_point)",
        "y = com.microsoft.MatMulIntegerToFloat(x/u8, MatMul_0/weight, x/scale,"
        " MatMul_0/weight_scale, x/zero_point, , bias)",  # weights have no zero point,
    ]
    assert dict(model.graph.opset_imports) == {"": 23, "com.microsoft": 1}


@pytest.mark.parametrize(
    ("text", "lowered"),
    [
        pytest.param(PLAIN, LOWERED, id="no_bias"),
        pytest.param(SHARED, f"{LOWERED} MatMulIntegerToFloat Add", id="shared_input"),
        pytest.param(READ_TWICE, f"{LOWERED} Add Relu Mul", id="product_read_twice"),
    ],
)
def test_a_linear_becomes_one_operator(quantised, ops, text, lowered):
    model = quantised(text)
    assert lower(model)
    assert ops(model) == lowered
    assert dict(model.graph.opset_imports) == {"": 23, "com.microsoft": 1}


@pytest.mark.parametrize(
    ("text", "bias"),
    [
        pytest.param(BIASED, 6, id="bias"),
        pytest.param(PLAIN, 6, id="no_bias"),
        pytest.param(SHARED, 6, id="shared_input"),
        pytest.param(READ_TWICE, 6, id="product_read_twice"),
        pytest.param(BIASED, 1, id="bias_of_one_element"),
        pytest.param(BIASED, (1, 6), id="bias_matrix"),
        pytest.param(ALSO_AN_OUTPUT, 6, id="product_is_an_output"),
    ],
)
def test_the_numbers_stay(quantised, run, x, text, bias):
    model = quantised(text, bias)
    before = run(model, x=x)
    assert lower(model)
    np.testing.assert_allclose(run(model, x=x), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 6), (1,)], ids=["matrix", "one_element"])
def test_an_add_that_is_no_bias_of_the_channels_stays(quantised, ops, shape):
    model = quantised(BIASED, shape)
    lower(model)
    assert ops(model) == f"{LOWERED} Add"


def test_float_linears_are_left_alone(parse, ops):
    model = parse(BIASED, w=np.ones((8, 6), np.float32), bias=np.ones(6, np.float32))
    assert not LowerToOrtCpu()(model).modified
    assert ops(model) == "MatMul Add"
    assert dict(model.graph.opset_imports) == {"": 23}


def test_a_product_of_two_activations_is_left_alone(parse, ops):
    model = parse("p (float[8, 8] x) => (float[8, 8] y) { y = MatMul(x, x) }")
    assert not LowerToOrtCpu()(model).modified
    assert ops(model) == "MatMul"


def test_a_second_time_changes_nothing(quantised, ops):
    model = quantised(BIASED)
    assert lower(model)
    assert not lower(model)
    assert ops(model) == LOWERED
