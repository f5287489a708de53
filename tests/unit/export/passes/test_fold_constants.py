import numpy as np
import onnx_ir as ir
import pytest

from polyhead_export.passes.clean import clean
from polyhead_export.passes.fold_constants import FoldConstants


@pytest.fixture
def projected(parse, random):
    return parse(
        """
        projected (int64[batch, tokens] ids) => (float[batch, tokens, 3] y, float[4, 3] z) {
            x = Gather(table, ids)
            normal = LayerNormalization(table, scale)
            z = MatMul(normal, weight)
            flat = ReduceSum(z)
            s = MatMul(x, z)
            y = Add(s, flat)
        }""",
        table=random.normal(size=(4, 4)).astype(np.float32),
        scale=np.ones(4, np.float32),
        weight=random.normal(size=(4, 3)).astype(np.float32),
    )


@pytest.fixture
def ids():
    return np.array([[0, 1, 3], [2, 2, 0]])


def test_what_hangs_on_weights_alone_is_folded_but_outputs_stay(projected, show):
    assert show(projected) == [
        "x = Gather(table, ids)",
        "normal = LayerNormalization(table, scale)",
        "z = MatMul(normal, weight)",
        "flat = ReduceSum(z)",
        "s = MatMul(x, z)",
        "y = Add(s, flat)",
    ]
    assert FoldConstants()(projected).modified
    clean()(projected)
    assert show(projected) == [
        "x = Gather(table, ids)",
        "normal = LayerNormalization(table, scale)",
        "z = MatMul(normal, weight)",
        "s = MatMul(x, z)",
        "y = Add(s, folded/flat)",
    ]


def test_the_numbers_stay(projected, run, ids):
    before = run(projected, ids=ids)
    FoldConstants()(projected)
    np.testing.assert_allclose(run(projected, ids=ids), before, rtol=0, atol=1e-6)


def test_a_second_time_changes_nothing(parse):
    model = parse("plain (float[n] x) => (float[n] y) { y = Gelu(x) }")
    assert not FoldConstants()(model).modified


def test_a_graph_with_something_to_fold_does_not_pass_for_a_folded_one(projected):
    with pytest.raises(ir.passes.PostconditionError, match="'flat'"):
        FoldConstants().ensures(projected)


def test_a_graph_may_read_more_than_token_ids(parse, ops):
    """As that of a decoder's step, whose table of relative positions is folded."""
    model = parse(
        "step (int64[n] ids, float[n, 2] past) => (float[n, 2] y) {\n"
        " rows = Gather(table, places)\n next = Gather(rows, ids)\n y = Add(next, past) }",
        table=np.ones((4, 2), np.float32),
        places=np.array([3, 0, 2]),
    )
    FoldConstants()(model)
    clean()(model)
    assert ops(model) == "Gather Add"


def test_folded_constants_stand_in_the_order_of_the_graph(parse):
    names = [f"c{i}" for i in range(40)]
    made = [f"{name} = Neg(table)\n {name}_of_ids = Gather({name}, ids)" for name in names]
    model = parse(
        f"""
        many (int64[batch, tokens] ids) => (float[batch, tokens, 2] y) {{
            {" ".join(made)}
            y = Sum({", ".join(f"{name}_of_ids" for name in names)})
        }}""",
        table=np.ones((4, 2), np.float32),
    )
    FoldConstants()(model)
    assert list(model.graph.initializers) == ["table", *(f"folded/{name}" for name in names)]
