import numpy as np
import onnx_ir as ir
import pytest

from polyhead_export.passes.clean import clean
from polyhead_export.passes.padding_mask import PaddingMask

# Each makes `mask` (batch, 1, …, keys) of m = attention_mask == 1.
MASKS = {
    "bool": "mask = Unsqueeze(m, middle)",
    "bool_of_every_query": """
        b = Unsqueeze(m, middle)
        s = Shape(ids)
        n = Shape<start = 1, end = 2>(ids)
        e = Concat<axis = 0>(unit1, unit1, n, unit1)
        mask = Expand(b, e)""",
    "to_add": """
        f = Cast<to = 1>(m)
        u = Unsqueeze(f, middle)
        rest = Sub(one, u)
        mask = Mul(rest, lowest)""",
    "padding_and_the_first_token_hidden": """
        b = Unsqueeze(m, middle)
        n = Shape<start = 1, end = 2>(ids)
        s = Squeeze(n)
        line = Range(zero, s, step)
        later = Greater(line, zero)
        mask = And(b, later)""",
    "turned_round": """
        b = Unsqueeze(m, middle)
        mask = Not(b)""",
}
PLAIN = ["bool", "bool_of_every_query", "to_add"]


@pytest.fixture
def masked(parse, random):
    words = random.normal(size=(10, 8)).astype(np.float32)

    def make(kind):
        return parse(
            f"""
            masked (int64[batch, tokens] ids, int64[batch, tokens] attention_mask)
                => (float[batch, tokens, 8] y) {{
                x = Gather(words, ids)
                m = Cast<to = 9>(attention_mask)
                {MASKS[kind]}
                y = Attention<q_num_heads = 2, kv_num_heads = 2>(x, x, x, mask)
            }}""",
            words=words,
            zero=np.array(0),
            step=np.array(1),
            unit1=np.array([1]),
            one=np.array(1, np.float32),
            lowest=np.array(np.finfo(np.float32).min),
            middle=np.array([1, 2]),
        )

    return make


@pytest.fixture
def feeds(random):
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    return {"ids": random.integers(1, 10, mask.shape), "attention_mask": mask}


def test_attention_reads_the_padding_itself(masked, show):
    model = masked("to_add")
    assert show(model) == [
        "x = Gather(words, ids)",
        "m = Cast<to=9>(attention_mask)",
        "f = Cast<to=1>(m)",
        "u = Unsqueeze(f, middle)",
        "rest = Sub(one, u)",
        "mask = Mul(rest, lowest)",
        "y = Attention<kv_num_heads=2, q_num_heads=2>(x, x, x, mask)",
    ]
    PaddingMask()(model)
    clean()(model)
    assert show(model) == [
        "%0 = Cast<to=9>(attention_mask)",
        "%1 = Unsqueeze(%0, mask/axes)",
        "%2 = Shape<end=2, start=1>(attention_mask)",
        "%3 = Concat<axis=0>(mask/one, mask/one, %2, mask/one)",
        "%4 = Expand(%1, %3)",
        "x = Gather(words, ids)",
        "y = Attention<kv_num_heads=2, q_num_heads=2>(x, x, x, %4)",
    ]


@pytest.mark.parametrize("kind", PLAIN)
def test_a_mask_of_the_padding_is_made_in_one_way(masked, ops, kind):
    model = masked(kind)
    assert PaddingMask()(model).modified
    clean()(model)
    assert ops(model) == "Cast Unsqueeze Shape Concat Expand Gather Attention"


@pytest.mark.parametrize("kind", PLAIN)
def test_the_numbers_stay(masked, run, feeds, kind):
    expected = run(masked("bool_of_every_query"), **feeds)  # onnxruntime takes no other form
    model = masked(kind)
    PaddingMask()(model)
    np.testing.assert_allclose(run(model, **feeds), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", PLAIN)
def test_what_stands_in_the_padding_does_not_matter(masked, run, feeds, kind):
    model = masked(kind)
    PaddingMask()(model)
    short = run(model, **{name: feed[1:2, :2] for name, feed in feeds.items()})
    np.testing.assert_allclose(run(model, **feeds)[1:2, :2], short, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [name for name in MASKS if name not in PLAIN])
def test_a_mask_that_says_something_else_stays(masked, ops, kind):
    model = masked(kind)
    before = ops(model)
    assert not PaddingMask()(model).modified
    assert ops(model) == before


def test_a_graph_without_the_input_is_refused(parse):
    model = parse("plain (float[rows, 8] x) => (float[rows, 8] y) { y = Neg(x) }")
    with pytest.raises(ir.passes.PreconditionError, match="attention_mask"):
        PaddingMask()(model)
