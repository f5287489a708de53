import numpy as np
import onnx_ir as ir
import pytest

from polyhead_export.passes.clean import clean
from polyhead_export.passes.split_heads import SplitHeads

# From x (batch, tokens, 24) to q (batch, heads, tokens, width).
WAYS = {
    "reshape_transpose": ("whole = Reshape(y8, heads)\n q = Transpose<perm = [0, 2, 1, 3]>(whole)"),
    "unbound_then_turned": (
        "five = Reshape(x, three)\n one = Slice(five, i1, i2, i2)\n four = Squeeze(one, i2)\n"
        " q = Transpose<perm = [0, 2, 1, 3]>(four)"
    ),
    "turned_then_unbound": (
        "five = Reshape(x, three)\n turned = Transpose<perm = [0, 3, 2, 1, 4]>(five)\n"
        " one = Slice(turned, i1, i2, i2)\n q = Squeeze(one, i2)"
    ),
}
CONSTANTS = {
    "heads": np.array([0, 0, 2, 4]),
    "three": np.array([0, 0, 3, 2, 4]),
    "i1": np.array([1]),
    "i2": np.array([2]),
    "eight": np.array([8]),
    "sixteen": np.array([16]),
}


@pytest.fixture
def attending(parse):
    def make(way):
        return parse(
            f"""
            attending (int64[batch, tokens] ids, float[batch, tokens, 24] x)
                => (float[batch, 2, tokens, 4] y) {{
                y8 = Slice(x, eight, sixteen, i2)
                {WAYS.get(way, way)}
                y = Attention(q, q, q)
            }}""",
            **CONSTANTS,
        )

    return make


@pytest.fixture
def feeds(random):
    return {
        "ids": np.zeros((3, 5), np.int64),
        "x": random.normal(size=(3, 5, 24)).astype(np.float32),
    }


def test_heads_are_cut_out_before_they_are_turned(attending, show):
    model = attending("turned_then_unbound")
    assert show(model) == [
        "y8 = Slice(x, eight, sixteen, i2)",
        "five = Reshape(x, three)",
        "turned = Transpose<perm=(0, 3, 2, 1, 4)>(five)",
        "one = Slice(turned, i1, i2, i2)",
        "q = Squeeze(one, i2)",
        "y = Attention(q, q, q)",
    ]
    assert SplitHeads()(model).modified
    clean()(model)
    assert show(model) == [
        "%0 = Slice(x, q/first, q/end, q/axis)",
        "%1 = Reshape(%0, Squeeze_4/heads/shape)",
        "q = Transpose<perm=(0, 2, 1, 3)>(%1)",
        "y = Attention(q, q, q)",
    ]


def test_a_graph_with_another_way_does_not_pass_for_a_rewritten_one(attending):
    with pytest.raises(ir.passes.PostconditionError, match="'q'"):
        SplitHeads().ensures(attending("turned_then_unbound"))


@pytest.mark.parametrize("way", WAYS)
def test_every_way_becomes_slice_reshape_transpose(attending, ops, way):
    model = attending(way)
    SplitHeads()(model)
    clean()(model)
    assert ops(model) == "Slice Reshape Transpose Attention"


@pytest.mark.parametrize("way", WAYS)
def test_the_numbers_stay(attending, run, feeds, way):
    model = attending(way)
    before = run(model, **feeds)
    SplitHeads()(model)
    np.testing.assert_array_equal(run(model, **feeds), before)


def test_heads_that_are_mixed_are_left_alone(attending, ops):
    model = attending(
        "whole = Reshape(y8, heads)\n part = Transpose<perm = [0, 3, 1, 2]>(whole)\n"
        " five = Reshape(part, again)\n q = Identity(five)".replace(", again", ", heads")
        .replace("[0, 3, 1, 2]", "[0, 1, 3, 2]")
        .replace("q = Identity(five)", "q = Transpose<perm = [0, 2, 1, 3]>(five)")
    )
    before = ops(model)
    assert not SplitHeads()(model).modified
    assert ops(model) == before
