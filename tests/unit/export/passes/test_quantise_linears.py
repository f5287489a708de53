import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from polyhead_export.passes.quantise_linears import LARGEST, QuantiseLinears, linears, weight_scales

ONE = "one (float[rows, 8] x) => (float[rows, 6] y) { y = MatMul(x, w) }"
PAIR = "DequantizeLinear DequantizeLinear"
RANGE = {"x": (-3.0, 3.0)}


def nearest(weight):
    return np.rint(weight / weight_scales(weight)).astype(np.int8)


def quantise(model, ranges, **settings):
    """The linears of these activations, with each weight rounded to the nearest value."""
    named = [each for each in linears(model.graph) if each.activation.name in ranges]
    weights = {each.node.name: nearest(each.weight.numpy()) for each in named}
    return QuantiseLinears(ranges, weights, **settings)(model)


@pytest.fixture
def weights(random):
    return {name: random.normal(size=(8, 6)).astype(np.float32) for name in "wv"}


@pytest.fixture
def x(random):
    return random.normal(size=(20, 8)).clip(-3, 3).astype(np.float32)


def test_a_linear_gets_a_pair_around_its_input_and_an_integer_weight(parse, show, weights):
    model = parse(ONE, w=weights["w"])
    assert show(model) == ["y = MatMul(x, w)"]
    assert quantise(model, RANGE).modified
    assert show(model) == [
        "x/u8 = QuantizeLinear(x, x/scale, x/zero_point)",
        "x/restored = DequantizeLinear(x/u8, x/scale, x/zero_point)",
        "%0 = DequantizeLinear<axis=1>"
        "(MatMul_0/weight, MatMul_0/weight_scale, MatMul_0/weight_zero_point)",
        "y = MatMul(x/restored, %0)",
    ]
    restored = [value.producer() for value in model.graph[-1].inputs]
    assert restored[1].inputs[0].const_value.numpy().dtype == np.int8
    assert restored[1].inputs[1].const_value.numpy().shape == (6,)


def test_linears_of_one_tensor_share_its_quantised_form(parse, ops, weights):
    text = """two (float[rows, 8] x) => (float[rows, 6] y) {
        a = MatMul(x, w)
        b = MatMul(x, v)
        y = Add(a, b)
    }"""
    model = parse(text, **weights)
    quantise(model, RANGE)
    assert ops(model) == f"QuantizeLinear {PAIR} MatMul DequantizeLinear MatMul Add"


@pytest.mark.parametrize(
    ("low", "high"),
    [(-3.0, 3.0), (-3.0, -1.0), (1.0, 3.0), (0.0, 3.0)],
    ids=["both_signs", "negative", "positive", "from_zero"],
)
def test_inputs_are_kept_to_half_a_step_and_zero_exactly(parse, run, low, high):
    model = parse(ONE.replace("6]", "8]"), w=np.eye(8, dtype=np.float32) * LARGEST)
    quantise(model, {"x": (low, high)})
    x = np.linspace(low, high, 160, dtype=np.float32).reshape(20, 8)
    x[0] = 0
    found = run(model, x=x) / LARGEST
    step = (max(high, 0) - min(low, 0)) / 255
    # The zero point is rounded too, which may cost the range half a step at one end.
    assert np.abs(found - x).max() <= step * 1.001
    assert np.abs(found - x).mean() <= step / 3
    np.testing.assert_array_equal(found[0], 0)


def test_the_product_is_close_to_the_float_one(parse, run, weights, x):
    model = parse(ONE, w=weights["w"])
    expected = run(model, x=x)
    quantise(model, RANGE)
    error = np.abs(run(model, x=x) - expected)
    # Half a step of each input, with every weight; half a step of each weight, with every input.
    steps = 6 / 255, np.abs(weights["w"]).max(axis=0) / 127
    bound = steps[0] / 2 * np.abs(weights["w"]).sum(axis=0)
    bound = bound + steps[1] / 2 * (np.abs(x) + steps[0]).sum(axis=1, keepdims=True)
    assert (error <= bound + 1e-5).all()
    assert 0 < error.mean() < 0.05


def test_values_outside_the_range_are_clipped(parse, run):
    model = parse(ONE.replace("6]", "8]"), w=np.eye(8, dtype=np.float32))
    quantise(model, RANGE)
    found = run(model, x=np.full((1, 8), 99, np.float32))
    np.testing.assert_allclose(found, 3, rtol=0.01)


def test_a_range_of_one_value_stays_finite(parse, run, weights):
    model = parse(ONE, w=weights["w"])
    quantise(model, {"x": (0.0, 0.0)})
    np.testing.assert_allclose(run(model, x=np.zeros((2, 8), np.float32)), 0, atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ONE.replace("x", "other"), id="input_not_named"),
        pytest.param("p (float[8, 8] x) => (float[8, 8] y) { y = MatMul(x, x) }", id="activations"),
        pytest.param("p (float[6, 8] x) => (float[8, 8] y) { y = MatMul(w, x) }", id="weight_left"),
        pytest.param("p (float[9, 8] x) => (float[1, 9, 6] y) { y = MatMul(x, d3) }", id="3d"),
        pytest.param("p (double[9, 8] x) => (double[9, 6] y) { y = MatMul(x, d64) }", id="double"),
        pytest.param("p (float[9, 8] x) => (float[9, 6] y) { y = Gemm(x, w) }", id="gemm"),
    ],
)
def test_other_products_are_left_alone(parse, ops, weights, text):
    w = weights["w"]
    model = parse(text, w=w, d3=w[None], d64=w.astype(np.float64))
    before = ops(model)
    assert not quantise(model, {**RANGE, "w": (-1.0, 1.0)}).modified
    assert ops(model) == before


def test_a_linear_with_an_unnamed_input_is_left_alone(parse, ops, weights):
    model = parse(ONE.replace("y = ", "n = Neg(x)\n y = ").replace("(x, w)", "(n, w)"), **weights)
    model.graph[0].outputs[0].name = None
    assert not quantise(model, {"n": (-3.0, 3.0), "x": (-3.0, 3.0)}).modified
    assert ops(model) == "Neg MatMul"


def test_a_second_time_changes_nothing(parse, ops, weights):
    model = parse(ONE, w=weights["w"])
    quantise(model, RANGE)
    before = ops(model)
    assert not quantise(model, RANGE).modified
    assert ops(model) == before


FLOATS = st.floats(-1e4, 1e4, width=32)


@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2), elements=FLOATS))
def test_the_grid_of_a_weight_holds_it_to_half_a_step(weight):
    scales = weight_scales(weight).astype(np.float64)
    steps = np.rint(weight / scales)
    assert np.abs(steps).max() <= LARGEST
    assert (np.abs(steps * scales - weight) <= scales / 2 * (1 + 1e-4)).all()


@given(arrays.arrays(np.float32, (5, 3), elements=FLOATS), st.sampled_from([0.5, 2.0, 8.0]))
def test_output_channels_have_scales_of_their_own(weight, factor):
    weight = np.where(np.abs(weight) < 1e-3, np.float32(0.5), weight)
    factors = np.array([factor, 1, 1], np.float32)
    np.testing.assert_array_equal(weight_scales(weight * factors), weight_scales(weight) * factors)


def test_the_largest_weight_of_a_channel_is_exact():
    weight = np.array([[64, -2], [1, 0.5]], np.float32)
    assert nearest(weight).tolist() == [[64, -64], [1, 16]]
    np.testing.assert_allclose(weight_scales(weight), [1, 2 / 64])


def test_a_channel_of_zeros_has_a_finite_scale():
    scales = weight_scales(np.array([[0, 1], [0, -1]], np.float32))
    assert np.isfinite(scales).all()
    assert (scales > 0).all()


def test_a_linear_with_scales_by_token_divides_and_multiplies(parse, ops, weights, x, run):
    model = parse(ONE, w=weights["w"])
    expected = run(model, x=x)
    quantise(model, RANGE, per_row=frozenset({"MatMul_0"}))
    pair = "QuantizeLinear DequantizeLinear DequantizeLinear MatMul Mul"
    assert ops(model) == f"Abs ReduceMax Max Div {pair}"
    # Half a step of each token, with every weight; half a step of each weight, with every input.
    step = np.abs(x).max(axis=1, keepdims=True) / 127
    bound = step / 2 * np.abs(weights["w"]).sum(axis=0)
    coarse = np.abs(weights["w"]).max(axis=0) / (2 * LARGEST)
    bound = bound + coarse * (np.abs(x) + step).sum(axis=1, keepdims=True)
    assert (np.abs(run(model, x=x) - expected) <= bound + 1e-5).all()


def test_with_scales_by_token_no_other_token_matters(parse, run, weights, x):
    model = parse(ONE, w=weights["w"])
    quantise(model, RANGE, per_row=frozenset({"MatMul_0"}))
    louder = np.concatenate([x[:3], 1000 * x[3:]])
    np.testing.assert_array_equal(run(model, x=x)[:3], run(model, x=louder)[:3])


def test_a_token_of_zeros_stays_zero_with_scales_by_token(parse, run, weights):
    model = parse(ONE, w=weights["w"])
    quantise(model, RANGE, per_row=frozenset({"MatMul_0"}))
    np.testing.assert_array_equal(run(model, x=np.zeros((2, 8), np.float32)), 0)


def test_a_linear_without_an_int8_weight_stays_in_float_beside_a_quantised_one(parse, ops, weights):
    text = """two (float[rows, 8] x) => (float[rows, 6] y) {
        a = MatMul(x, w)
        b = MatMul(x, v)
        y = Add(a, b)
    }"""
    model = parse(text, **weights)
    QuantiseLinears(RANGE, {"MatMul_1": nearest(weights["v"])})(model)
    assert ops(model) == f"MatMul QuantizeLinear {PAIR} MatMul Add"


def test_linears_that_share_a_weight_share_its_int8_form(parse, ops, weights):
    text = """two (float[rows, 8] x) => (float[rows, 6] y) {
        n = Neg(x)
        a = MatMul(x, w)
        b = MatMul(n, w)
        y = Add(a, b)
    }"""
    model = parse(text, w=weights["w"])
    quantise(model, {**RANGE, "n": (-3.0, 3.0)})
    assert ops(model).count("DequantizeLinear") == 3


def test_a_float_graph_does_not_pass_for_a_quantised_one(parse, weights):
    model = parse(ONE, w=weights["w"])
    with pytest.raises(ir.passes.PostconditionError, match="MatMul_0"):
        QuantiseLinears(RANGE, {"MatMul_0": nearest(weights["w"])}).ensures(model)
    QuantiseLinears(RANGE, {}).ensures(model)


@pytest.mark.parametrize("per_row", [frozenset(), frozenset({"MatMul_0"})], ids=["static", "rows"])
def test_a_linear_that_reads_another_without_anything_between_is_quantised(parse, weights, per_row):
    text = """two (float[rows, 8] x) => (float[rows, 8] y) {
        a = MatMul(x, w)
        y = MatMul(a, turned)
    }"""
    model = parse(text, w=weights["w"], turned=weights["v"].T.copy())
    quantise(model, {**RANGE, "a": (-9.0, 9.0)}, per_row=per_row)
    products = [node for node in model.graph if node.op_type == "MatMul"]
    assert [v.producer().op_type for n in products for v in n.inputs] == ["DequantizeLinear"] * 4
