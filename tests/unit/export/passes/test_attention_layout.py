import numpy as np
import onnx_ir as ir
import pytest

from polyhead_export.passes.attention_layout import AttentionLayout
from polyhead_export.passes.clean import clean

SWAP = "<perm = [0, 2, 1, 3]>"
SPLIT = np.array([0, 0, 2, 4])
JOIN = np.array([0, 0, 8])


def text(*, query=SWAP, key=SWAP, merge=SWAP, x="batch, tokens, 8", y="batch, tokens, 8", last="m"):
    return f"""
    layout (float[{x}] x) => (float[{y}] y) {{
        keys = Neg(x)
        q = Reshape(x, split)
        k = Reshape(keys, split)
        v = Reshape(x, split)
        qt = Transpose{query}(q)
        kt = Transpose{key}(k)
        vt = Transpose{SWAP}(v)
        a = Attention<scale = 0.25>(qt, kt, vt)
        t = Transpose{merge}(a)
        m = Reshape(t, join)
        y = Relu({last})
    }}"""


def rewrite(model):
    """The pass, and the old nodes out, which nothing reads any more."""
    modified = AttentionLayout()(model).modified
    clean()(model)
    return modified


@pytest.fixture
def standard(parse):
    return parse(text(), split=SPLIT, join=JOIN)


def test_reshapes_and_transposes_vanish_and_attributes_stay(standard, show):
    assert show(standard) == [
        "keys = Neg(x)",
        "q = Reshape(x, split)",
        "k = Reshape(keys, split)",
        "v = Reshape(x, split)",
        "qt = Transpose<perm=(0, 2, 1, 3)>(q)",
        "kt = Transpose<perm=(0, 2, 1, 3)>(k)",
        "vt = Transpose<perm=(0, 2, 1, 3)>(v)",
        "a = Attention<scale=0.25>(qt, kt, vt)",
        "t = Transpose<perm=(0, 2, 1, 3)>(a)",
        "m = Reshape(t, join)",
        "y = Relu(m)",
    ]
    rewrite(standard)
    assert show(standard) == [
        "keys = Neg(x)",
        "m = Attention<kv_num_heads=2, q_num_heads=2, scale=0.25>(x, keys, x)",
        "y = Relu(m)",
    ]


def test_a_graph_in_the_old_layout_does_not_pass_for_a_new_one(standard):
    with pytest.raises(ir.passes.PostconditionError, match="Attention_7"):
        AttentionLayout().ensures(standard)


def test_an_old_attention_that_nothing_reads_does_no_harm(standard):
    AttentionLayout()(standard)
    assert sum(node.op_type == "Attention" for node in standard.graph) == 2
    AttentionLayout().ensures(standard)


@pytest.mark.parametrize("shape", [(1, 1, 8), (2, 5, 8)], ids=["one_token", "batch"])
def test_the_numbers_stay(standard, run, random, shape):
    x = random.normal(size=shape).astype(np.float32)
    before = run(standard, x=x)
    rewrite(standard)
    np.testing.assert_allclose(run(standard, x=x), before, rtol=0, atol=1e-6)


def test_a_mask_stays(parse, run, random):
    masked = text().replace("(qt, kt, vt)", "(qt, kt, vt, mask)")
    mask = np.triu(np.full((5, 5), -50.0, np.float32), 1)
    model = parse(masked, split=SPLIT, join=JOIN, mask=mask)
    x = random.normal(size=(2, 5, 8)).astype(np.float32)
    before = run(model, x=x)
    assert rewrite(model)
    np.testing.assert_allclose(run(model, x=x), before, rtol=0, atol=1e-6)


def test_a_second_time_changes_nothing(standard, ops):
    assert rewrite(standard)
    before = ops(standard)
    assert not rewrite(standard)
    assert ops(standard) == before


READ_TWICE = text().replace("y = Relu(m)", "n = Relu(m)\n s = Reshape(a, join)\n y = Add(n, s)")


@pytest.mark.parametrize(
    ("graph", "split", "join"),
    [
        pytest.param(text(key="<perm = [0, 2, 3, 1]>"), SPLIT, JOIN, id="key_turned_otherwise"),
        pytest.param(text(merge="<perm = [0, 1, 2, 3]>"), SPLIT, JOIN, id="result_not_turned"),
        pytest.param(text(key=""), SPLIT, JOIN, id="transpose_without_permutation"),
        pytest.param(READ_TWICE, SPLIT, JOIN, id="result_read_twice"),
        pytest.param(text(y="rows, 8"), SPLIT, np.array([-1, 8]), id="merged_to_2d"),
        pytest.param(text(x="rows, 8"), np.array([1, -1, 2, 4]), JOIN, id="split_from_2d"),
        pytest.param(text(), np.array([0, -1, 2, 8]), np.array([0, -1, 8]), id="not_the_width"),
    ],
)
def test_other_layouts_are_left_alone(parse, ops, graph, split, join):
    model = parse(graph, split=split, join=join)
    before = ops(model)
    assert not AttentionLayout()(model).modified
    assert ops(model) == before
