import numpy as np
import pytest

from polyhead_export.passes.stable_mean import StableMean


@pytest.fixture
def mean(parse):
    def make(axis=1, *, keep=0, words="[10, 6]", text=None):
        text = (
            text
            or f"""
        mean (int64[batch, tokens] ids) => (float[{"a, b, c" if keep else "a, b"}] y) {{
            x = Gather(words, ids)
            y = ReduceMean<keepdims = {keep}>(x, axes)
        }}"""
        )
        words = np.random.default_rng(4).normal(size=(10, 6)).astype(np.float32)
        return parse(text, words=words, axes=np.array([axis]))

    return make


@pytest.mark.parametrize("axis", [1, -2])
def test_a_mean_over_tokens_becomes_a_product(mean, show, axis):
    model = mean(axis)
    assert show(model) == [
        "x = Gather(words, ids)",
        "y = ReduceMean<keepdims=0>(x, axes)",
    ]
    assert StableMean(9)(model).modified
    assert show(model) == [
        "%0 = Shape<end=2, start=1>(ids)",
        "%1 = Slice(mean/ones, mean/start, %0, mean/axis)",
        "%2 = Cast<to=1>(%0)",
        "x = Gather(words, ids)",
        "%3 = MatMul(%1, x)",
        "%4 = Div(%3, %2)",
        "y = Squeeze(%4, ReduceMean_1/axis)",
    ]


@pytest.mark.parametrize("keep", [0, 1], ids=["squeezed", "kept"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 5)], ids=["one", "longest", "batch"])
def test_the_numbers_stay(mean, run, random, keep, shape):
    ids = random.integers(0, 10, shape)
    model = mean(keep=keep)
    before = run(model, ids=ids)
    StableMean(9)(model)
    after = run(model, ids=ids)
    assert after.shape == before.shape
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rows", [2, 5, 32])
def test_a_row_has_the_same_mean_alone_and_in_a_batch(parse, run, random, rows):
    model = parse(
        """
        mean (int64[batch, tokens] ids) => (float[batch, width] y) {
            x = Gather(words, ids)
            y = ReduceMean<keepdims = 0>(x, axes)
        }""",
        words=random.normal(size=(50, 384)).astype(np.float32),
        axes=np.array([1]),
    )
    StableMean(33)(model)
    ids = random.integers(0, 50, (rows, 33))
    alone = np.concatenate([run(model, ids=row[None]) for row in ids])
    np.testing.assert_array_equal(run(model, ids=ids), alone)


def test_all_means_share_one_row_of_ones(mean, ops):
    model = mean(
        text="""
        means (int64[batch, tokens] ids) => (float[a, b] y) {
            x = Gather(words, ids)
            p = ReduceMean<keepdims = 0>(x, axes)
            n = Neg(x)
            q = ReduceMean<keepdims = 0>(n, axes)
            y = Add(p, q)
        }"""
    )
    StableMean(9)(model)
    assert ops(model) == ("Shape Slice Cast Gather MatMul Div Squeeze Neg MatMul Div Squeeze Add")


@pytest.mark.parametrize("axis", [0, 2, -1])
def test_a_mean_over_another_axis_is_left_alone(mean, ops, axis):
    model = mean(axis)
    assert not StableMean(9)(model).modified
    assert ops(model) == "Gather ReduceMean"


def test_a_mean_over_an_axis_of_fixed_length_is_left_alone(mean, ops):
    model = mean(
        text="""
        turned (int64[batch, tokens] ids) => (float[a, b] y) {
            x = Gather(words, ids)
            turned = Transpose<perm = [0, 2, 1]>(x)
            y = ReduceMean<keepdims = 0>(turned, axes)
        }"""
    )
    assert not StableMean(9)(model).modified
    assert ops(model) == "Gather Transpose ReduceMean"


def test_a_second_time_changes_nothing(mean):
    model = mean()
    assert StableMean(9)(model).modified
    assert not StableMean(9)(model).modified
