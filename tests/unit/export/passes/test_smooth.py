import numpy as np
import onnx_ir as ir
import pytest

from polyhead_export.passes.smooth import Smooth

LINEAR = "one (float[rows, 8] x) => (float[rows, 6] y) { y = MatMul(x, w) }"
ATTENTION = """a (float[1, rows, 8] x) => (float[1, rows, 6] y) {
    q = MatMul(x, wq)
    k = MatMul(x, wk)
    p = MatMul(x, wv)
    v = Add(bv, p)
    c = Attention <q_num_heads = 2, kv_num_heads = 2> (q, k, v)
    y = MatMul(c, w)
}"""


@pytest.fixture
def factors(random):
    return random.uniform(0.1, 9, 8).astype(np.float32)


@pytest.fixture
def weights(random):
    shapes = {"w": (8, 6), "v": (8, 6), "wq": (8, 8), "wk": (8, 8), "wv": (8, 8), "bv": (8,)}
    return {name: random.normal(size=s).astype(np.float32) for name, s in shapes.items()}


def test_a_linear_reads_its_input_over_the_factors(parse, show, run, weights, factors, random):
    model = parse(LINEAR, w=weights["w"])
    x = random.normal(size=(5, 8)).astype(np.float32)
    expected = run(model, x=x)
    assert show(model) == ["y = MatMul(x, w)"]
    assert Smooth({"x": factors})(model).modified
    assert show(model) == [
        "x/smoothed = Mul(x, x/smoothing)",
        "y = MatMul(x/smoothed, MatMul_0/smoothed_weight)",
    ]
    np.testing.assert_allclose(run(model, x=x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.graph[0].inputs[1].const_value.numpy(), 1 / factors)


def test_linears_of_one_tensor_share_the_product(parse, ops, weights, factors):
    text = LINEAR.replace("y = MatMul(x, w)", "a = MatMul(x, w)\n b = MatMul(x, v)\n y = Add(a, b)")
    model = parse(text, w=weights["w"], v=weights["v"])
    Smooth({"x": factors})(model)
    assert ops(model) == "Mul MatMul MatMul Add"


def test_what_attention_gives_is_smoothed_inside_v(parse, show, run, weights, factors, random):
    del weights["v"]
    model = parse(ATTENTION, **weights)
    x = random.normal(size=(1, 5, 8)).astype(np.float32)
    expected = run(model, x=x)
    assert show(model) == [
        "q = MatMul(x, wq)",
        "k = MatMul(x, wk)",
        "p = MatMul(x, wv)",
        "v = Add(bv, p)",
        "c = Attention<kv_num_heads=2, q_num_heads=2>(q, k, v)",
        "y = MatMul(c, w)",
    ]
    Smooth({"c": factors})(model)
    assert show(model) == [
        "q = MatMul(x, wq)",
        "k = MatMul(x, wk)",
        "p = MatMul(x, wv/smoothed)",
        "v = Add(bv/smoothed, p)",
        "c = Attention<kv_num_heads=2, q_num_heads=2>(q, k, v)",
        "y = MatMul(c, MatMul_5/smoothed_weight)",
    ]
    np.testing.assert_allclose(run(model, x=x), expected, rtol=1e-4, atol=1e-5)
    product = next(node for node in model.graph if node.outputs[0].name == "p")
    found = product.inputs[1].const_value.numpy()
    np.testing.assert_allclose(found, weights["wv"] / factors, rtol=1e-6)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("y = MatMul(c, w)", "d = MatMul(c, w)\n y = Add(d, v6)", id="v_read_twice"),
        pytest.param("k = MatMul(x, wk)", "k = MatMul(x, wv)", id="weight_shared"),
    ],
)
def test_v_that_something_else_reads_gets_a_product(
    parse, ops, run, weights, factors, random, old, new
):
    del weights["v"]
    text = ATTENTION.replace(old, new)
    if "v6" in new:
        text = text.replace("v6", "s6").replace("c = Att", "s6 = MatMul(v, w)\n c = Att")
    model = parse(text, **weights)
    x = random.normal(size=(1, 5, 8)).astype(np.float32)
    expected = run(model, x=x)
    Smooth({"c": factors})(model)
    assert ops(model).split().count("Mul") == 1
    np.testing.assert_allclose(run(model, x=x), expected, rtol=1e-4, atol=1e-5)


def test_a_linear_that_is_skipped_stays_as_it_is(parse, ops, weights, factors):
    model = parse(LINEAR, w=weights["w"])
    assert not Smooth({"x": factors}, skip=frozenset({"MatMul_0"}))(model).modified
    assert ops(model) == "MatMul"


def test_without_factors_nothing_changes(parse, weights):
    model = parse(LINEAR, w=weights["w"])
    assert not Smooth({})(model).modified
    assert isinstance(model, ir.Model)


def test_factors_of_what_no_linear_reads_are_refused(parse, weights, factors):
    model = parse(LINEAR, w=weights["w"])
    with pytest.raises(ir.passes.PreconditionError, match=r"no linear reads: \['y'\]"):
        Smooth({"x": factors, "y": factors})(model)


@pytest.mark.parametrize(
    ("text", "name", "node"),
    [(LINEAR, "x", "MatMul_0"), (ATTENTION, "c", "MatMul_5")],
    ids=["linear", "attention"],
)
def test_a_graph_with_factors_to_come_does_not_pass_for_a_smoothed_one(
    parse, weights, factors, text, name, node
):
    del weights["v"]
    model = parse(text, **weights)
    with pytest.raises(ir.passes.PostconditionError, match=node):
        Smooth({name: factors}).ensures(model)
