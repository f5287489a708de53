import numpy as np
import onnx_ir as ir
import pytest

from polyhead_export.passes.clean import clean
from polyhead_export.passes.drop_mask import DropMask

LONGEST = 24
# Each computes `mask` from the ids; d is, row by row, how far a key is behind the query.
MASKS = {
    "ones": "mask = Equal(d, d)",
    "zeros_to_add": "z = Sub(d, d)\n mask = Cast<to = 1>(z)",
    "not_after": "mask = LessOrEqual(d, zero)",
    "window_of_8": "e = Abs(d)\n mask = Less(e, eight)",
    "minus_one_to_add": "z = Sub(d, d)\n f = Sub(z, unit)\n mask = Cast<to = 1>(f)",
    "of_the_tokens": "k = Equal(ids, zero)\n l = Not(k)\n mask = Unsqueeze(l, middle)",
}
KEPT = [name for name in MASKS if name not in ("ones", "zeros_to_add")]


@pytest.fixture
def masked(parse, random):
    def make(kind):
        return parse(
            f"""
            masked (int64[batch, tokens] ids) => (float[batch, tokens, 8] y) {{
                x = Gather(words, ids)
                n = Shape<start = 1, end = 2>(ids)
                s = Squeeze(n)
                line = Range(zero, s, unit)
                keys = Unsqueeze(line, first)
                queries = Unsqueeze(line, second)
                d = Sub(keys, queries)
                {MASKS[kind]}
                y = Attention<q_num_heads = 2, kv_num_heads = 2>(x, x, x, mask)
            }}""",
            words=random.normal(size=(10, 8)).astype(np.float32),
            zero=np.array(0),
            unit=np.array(1),
            eight=np.array(8),
            first=np.array([0]),
            second=np.array([1]),
            middle=np.array([1, 2]),
        )

    return make


@pytest.fixture
def ids(random):
    return random.integers(1, 10, (1, LONGEST))


@pytest.mark.parametrize("kind", ["ones", "zeros_to_add"])
def test_a_mask_that_masks_nothing_goes(masked, show, kind):
    model = masked(kind)
    assert DropMask(LONGEST)(model).modified
    clean()(model)
    assert show(model) == [
        "x = Gather(words, ids)",
        "y = Attention<kv_num_heads=2, q_num_heads=2>(x, x, x)",
    ]


def test_masks_of_scores_that_mask_nothing_go(parse, show):
    model = parse(
        """
        scored (int64[batch, tokens] ids) => (float[batch, tokens, tokens] y)
            <float[batch, tokens, tokens] seen, float[batch, tokens, tokens] biased,
            float[batch, tokens, tokens] scaled> {
            x = Gather(words, ids)
            turned = Transpose<perm = [0, 2, 1]>(x)
            scores = MatMul(x, turned)
            n = Shape<start = 1, end = 2>(ids)
            square = Concat<axis = 0>(n, n)
            zeros = Expand(zero, square)
            none = Cast<to = 9>(zeros)
            ones = Exp(zeros)
            seen = Where(none, lowest, scores)
            biased = Add(zeros, seen)
            scaled = Mul(biased, ones)
            y = Softmax(scaled)
        }""",
        words=np.ones((10, 8), np.float32),
        zero=np.zeros(1, np.float32),
        lowest=np.array(np.finfo(np.float32).min),
    )
    assert show(model) == [
        "x = Gather(words, ids)",
        "turned = Transpose<perm=(0, 2, 1)>(x)",
        "scores = MatMul(x, turned)",
        "n = Shape<end=2, start=1>(ids)",
        "square = Concat<axis=0>(n, n)",
        "zeros = Expand(zero, square)",
        "none = Cast<to=9>(zeros)",
        "ones = Exp(zeros)",
        "seen = Where(none, lowest, scores)",
        "biased = Add(zeros, seen)",
        "scaled = Mul(biased, ones)",
        "y = Softmax(scaled)",
    ]
    assert DropMask(LONGEST)(model).modified
    clean()(model)
    assert show(model) == [
        "x = Gather(words, ids)",
        "turned = Transpose<perm=(0, 2, 1)>(x)",
        "scores = MatMul(x, turned)",
        "y = Softmax(scores)",
    ]


def test_a_graph_with_a_mask_of_padding_is_refused(parse):
    model = parse("p (int64[b, t] attention_mask) => (int64[b, t] y) { y = Neg(attention_mask) }")
    with pytest.raises(ir.passes.PreconditionError, match="attention_mask"):
        DropMask(LONGEST)(model)


@pytest.mark.parametrize("kind", ["ones", "zeros_to_add"])
def test_the_numbers_stay(masked, run, ids, kind):
    model = masked(kind)
    before = run(model, ids=ids)
    DropMask(LONGEST)(model)
    np.testing.assert_allclose(run(model, ids=ids), before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KEPT)
def test_a_mask_that_masks_something_stays(masked, ops, kind):
    model = masked(kind)
    before = ops(model)
    assert not DropMask(LONGEST)(model).modified
    assert ops(model) == before
    assert model.graph[-1].inputs[3].name == "mask"


@pytest.mark.parametrize("kind", ["not_after", "window_of_8", "minus_one_to_add"])
def test_the_masks_that_stay_can_be_computed(masked, run, ids, kind):
    assert np.isfinite(run(masked(kind), ids=ids)).all()


def test_a_window_as_wide_as_the_longest_text_goes(masked):
    assert DropMask(8)(masked("window_of_8")).modified


def test_a_second_time_changes_nothing(masked):
    model = masked("ones")
    assert DropMask(LONGEST)(model).modified
    assert not DropMask(LONGEST)(model).modified


def test_attention_without_mask_is_left_alone(parse, ops):
    model = parse(
        """
        plain (float[batch, tokens, 8] x) => (float[batch, tokens, 8] y) {
            y = Attention<q_num_heads = 2, kv_num_heads = 2>(x, x, x)
        }"""
    )
    assert not DropMask(LONGEST)(model).modified
    assert ops(model) == "Attention"
