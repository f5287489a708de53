import numpy as np
import pytest

from polyhead_export.passes.clean import clean
from polyhead_export.passes.fold_attention_scale import FoldAttentionScale

LINEAR = "product = MatMul(x, w)\n        q = Add(product, b)"
SWAPPED = "product = MatMul(x, w)\n        q = Add(b, product)"
NO_BIAS = "q = MatMul(x, w)"
READ_TWICE = "product = MatMul(x, w)\n        q = Add(product, b)\n        other = Neg(q)"
SAME_WEIGHTS = "product = MatMul(x, w)\n        q = Add(product, b)\n        other = MatMul(x, w)"
ROTATED = "product = MatMul(x, w)\n        biased = Add(product, b)\n        q = Neg(biased)"


def text(queries, attributes="scale = 0.25, "):
    return f"""
    attention (float[batch, tokens, 8] x) => (float[batch, tokens, 8] y) {{
        {queries}
        y = Attention<{attributes}q_num_heads = 2, kv_num_heads = 2>(q, x, x)
    }}"""


@pytest.fixture
def make(parse, random):
    def made(queries, **options):
        w = random.normal(size=(8, 8)).astype(np.float32)
        bias = {} if "b" not in queries.replace("biased", "") else {"b": w[0] * 2}
        return parse(text(queries, **options), w=w, **bias)

    return made


def scale(model):
    (node,) = (node for node in model.graph if node.op_type == "Attention")
    found = node.attributes.get("scale")
    return None if found is None else found.as_float()


def fold(model):
    modified = FoldAttentionScale()(model).modified
    clean()(model)
    return modified


@pytest.mark.parametrize("queries", [LINEAR, SWAPPED], ids=["bias_second", "bias_first"])
def test_the_scale_goes_into_weight_and_bias(make, run, random, queries):
    model, x = make(queries), random.normal(size=(2, 5, 8)).astype(np.float32)
    before = run(model, x=x)
    weights = {name: v.const_value.numpy().copy() for name, v in model.graph.initializers.items()}
    assert fold(model)
    assert scale(model) == 1.0
    after = {name: v.const_value.numpy() for name, v in model.graph.initializers.items()}
    for name in "wb":
        np.testing.assert_array_equal(after[f"{name}/scaled"], weights[name] * np.float32(0.25))
    np.testing.assert_allclose(run(model, x=x), before, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "queries",
    [NO_BIAS, READ_TWICE, SAME_WEIGHTS, ROTATED],
    ids=["no_bias", "read_twice", "same_weights", "rotated"],
)
def test_other_queries_keep_their_scale(make, queries):
    model = make(queries)
    assert not fold(model)
    assert scale(model) == 0.25


@pytest.mark.parametrize("attributes", ["", "scale = 1.0, "], ids=["none", "one"])
def test_nothing_to_fold(make, attributes):
    assert not fold(make(LINEAR, attributes=attributes))
