import numpy as np
import pytest

from polyhead_export.passes.clean import deduplicated

# Two heads with a pooler each, then linears of their own.
TWO = """two (float[rows, 4] x) => (float[rows, 2] topic, float[rows, 2] mood) {
    p = MatMul(x, pooler)
    pb = Add(p, bias)
    pooled = Tanh(pb)
    topic = MatMul(pooled, w)
    q = MatMul(x, pooler_again)
    qb = Add(q, bias_again)
    pooled_again = Tanh(qb)
    mood = MatMul(pooled_again, v)
}"""
ONCE = [
    "p = MatMul(x, pooler)",
    "pb = Add(p, bias)",
    "pooled = Tanh(pb)",
    "topic = MatMul(pooled, w)",
]


@pytest.fixture
def weights(random):
    shapes = {"pooler": (4, 4), "bias": (4,), "w": (4, 2), "v": (4, 2)}
    made = {name: random.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    copies = {f"{name}_again": made[name].copy() for name in ("pooler", "bias")}
    return made | copies


def test_two_equal_poolers_become_one(parse, show, weights):
    model = parse(TWO, **weights)
    assert show(model) == [
        *ONCE,
        "q = MatMul(x, pooler_again)",
        "qb = Add(q, bias_again)",
        "pooled_again = Tanh(qb)",
        "mood = MatMul(pooled_again, v)",
    ]
    assert deduplicated()(model).modified
    assert show(model) == [*ONCE, "mood = MatMul(pooled, v)"]
    assert set(model.graph.initializers) == {"pooler", "bias", "w", "v"}


def test_poolers_that_differ_in_one_weight_stay_two(parse, show, weights):
    weights["pooler_again"][3, 2] += 1e-6
    model = parse(TWO, **weights)
    before = show(model)
    deduplicated()(model)
    assert len(show(model)) == len(before)
    assert set(model.graph.initializers) == {"pooler", "pooler_again", "bias", "w", "v"}


def test_equal_numbers_of_another_type_or_shape_stay_two(parse):
    model = parse(
        "s (float[rows, 4] x) => (float[rows, 4] y) { a = Add(x, flat)\n y = Add(a, row) }",
        flat=np.zeros(4, np.float32),
        row=np.zeros((1, 4), np.float32),
    )
    assert not deduplicated()(model).modified


def test_two_equal_heads_keep_both_outputs(parse, show, run, weights, random):
    model = parse(TWO, **{**weights, "v": weights["w"]})
    x = random.normal(size=(3, 4)).astype(np.float32)
    expected = run(model, x=x)
    deduplicated()(model)
    assert show(model) == [*ONCE, "mood = Identity(topic)"]
    assert [value.name for value in model.graph.outputs] == ["topic", "mood"]
    np.testing.assert_array_equal(run(model, x=x), expected)
