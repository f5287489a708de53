import numpy as np
import onnx_ir as ir
import pytest

from polyhead_export.passes.prune_heads import PruneHeads

TWO = """two (int64[batch, tokens] ids)
    => (float[batch, tokens, 8] low, float[batch, tokens, 8] high) {
    x = Gather(words, ids)
    first = Attention<q_num_heads = 2, kv_num_heads = 2>(x, x, x)
    low = Add(first, one)
    second = Attention<q_num_heads = 2, kv_num_heads = 2>(first, first, first)
    high = MatMul(second, w)
}"""
IDS = np.array([[3, 1, 2], [0, 0, 9]])


@pytest.fixture
def two(parse, random):
    return parse(
        TWO,
        words=random.normal(size=(10, 8)).astype(np.float32),
        one=np.ones(8, np.float32),
        w=random.normal(size=(8, 8)).astype(np.float32),
    )


def test_what_only_the_other_heads_need_goes(two, show):
    assert show(two) == [
        "x = Gather(words, ids)",
        "first = Attention<kv_num_heads=2, q_num_heads=2>(x, x, x)",
        "low = Add(first, one)",
        "second = Attention<kv_num_heads=2, q_num_heads=2>(first, first, first)",
        "high = MatMul(second, w)",
    ]
    assert PruneHeads(["low"])(two).modified
    assert show(two) == [
        "x = Gather(words, ids)",
        "first = Attention<kv_num_heads=2, q_num_heads=2>(x, x, x)",
        "low = Add(first, one)",
    ]
    assert set(two.graph.initializers) == {"words", "one"}
    assert [value.name for value in two.graph.outputs] == ["low"]


@pytest.mark.parametrize("output", ["low", "high"])
def test_what_is_left_gives_the_same_bits(two, run, output):
    expected = run(two, ids=IDS) if output == "low" else run(_only_high(two), ids=IDS)
    PruneHeads([output])(two)
    np.testing.assert_array_equal(run(two, ids=IDS), expected)


def _only_high(model):
    copy = ir.from_proto(ir.to_proto(model))
    copy.graph.outputs.reverse()
    return copy


def test_keeping_all_changes_nothing(two, ops):
    assert not PruneHeads(["low", "high"])(two).modified
    assert ops(two) == "Gather Attention Add Attention MatMul"


@pytest.mark.parametrize("outputs", [[], ["middle"], ["low", "lowest"]], ids=str)
def test_an_output_that_is_not_there_is_refused(two, outputs):
    with pytest.raises(ir.passes.PreconditionError, match=r"the graph has \['high', 'low'\]"):
        PruneHeads(outputs)(two)
