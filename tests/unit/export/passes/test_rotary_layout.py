import numpy as np
import onnx_ir as ir
import pytest

from polyhead_export.passes.clean import clean
from polyhead_export.passes.rotary_layout import RotaryLayout

LONGEST = 12
HEADS = "split = Reshape(x, heads)\n q = Transpose<perm = [0, 2, 1, 3]>(split)"
# cos and sin (1, tokens, 16) of the positions 0, 1, 2 … Of narrower ones, onnxruntime's Cos gives
# other last bits when the text is longer.
ANGLES = "moved = Unsqueeze(line, last)\n one = Mul(moved, speeds)\n angles = Unsqueeze(one, first)"
# The same, but counted from the end: a row depends on the length of the text.
FROM_THE_END = ANGLES.replace("(line,", "(back,").replace(
    "moved =", "back = Sub(length, line)\n moved ="
)
BY_TOKENS = "ids_as_float = Cast<to = 1>(ids)\n moved = Unsqueeze(ids_as_float, last)\n"
BY_TOKENS += " angles = Mul(moved, speeds)"


@pytest.fixture
def turning(parse, random):
    words = random.normal(size=(10, 64)).astype(np.float32)

    def make(angles=ANGLES, heads=HEADS, **weights):
        return parse(
            f"""
            turning (int64[batch, tokens] ids) => (float[batch, 2, tokens, 32] y) {{
                x = Gather(words, ids)
                {heads}
                n = Shape<start = 1, end = 2>(ids)
                s = Squeeze(n)
                length = Cast<to = 1>(s)
                line = Range(zero, length, step)
                {angles}
                cos = Cos(angles)
                sin = Sin(angles)
                y = RotaryEmbedding(q, cos, sin)
            }}""",
            words=words,
            heads=np.array([0, 0, 2, 32]),
            zero=np.array(0, np.float32),
            step=np.array(1, np.float32),
            speeds=(10.0 ** -np.arange(16)).astype(np.float32),
            first=np.array([0]),
            last=np.array([-1]),
            **weights,
        )

    return make


def rewrite(model):
    """The pass, and the old nodes out, which nothing reads any more."""
    modified = RotaryLayout(LONGEST)(model).modified
    clean()(model)
    return modified


def test_heads_are_turned_before_they_are_split_by_tables_of_all_positions(turning, show):
    model = turning()
    assert show(model) == [
        "x = Gather(words, ids)",
        "split = Reshape(x, heads)",
        "q = Transpose<perm=(0, 2, 1, 3)>(split)",
        "n = Shape<end=2, start=1>(ids)",
        "s = Squeeze(n)",
        "length = Cast<to=1>(s)",
        "line = Range(zero, length, step)",
        "moved = Unsqueeze(line, last)",
        "one = Mul(moved, speeds)",
        "angles = Unsqueeze(one, first)",
        "cos = Cos(angles)",
        "sin = Sin(angles)",
        "y = RotaryEmbedding(q, cos, sin)",
    ]
    assert rewrite(model)
    assert show(model) == [
        "%0 = Shape(ids)",
        "%1 = Shape<end=2, start=1>(ids)",
        "%2 = Slice(rotary/row, rotary/start, %1, rotary/axis)",
        "%3 = Expand(%2, %0)",
        "x = Gather(words, ids)",
        "y/flat = RotaryEmbedding<num_heads=2>(x, rotary/table_0, rotary/table_1, %3)",
        "%4 = Reshape(y/flat, RotaryEmbedding_12/out/shape)",
        "y = Transpose<perm=(0, 2, 1, 3)>(%4)",
    ]


@pytest.mark.parametrize("shape", [(1, 1), (1, LONGEST)], ids=["one", "longest"])
def test_the_numbers_stay(turning, run, random, shape):
    ids = random.integers(0, 10, shape)
    model = turning()
    before = run(model, ids=ids)
    rewrite(model)
    np.testing.assert_allclose(run(model, ids=ids), before, rtol=0, atol=1e-6)


def test_a_batch_gets_what_its_rows_get_alone(turning, run, random):
    ids = random.integers(0, 10, (3, 7))
    alone = np.concatenate([run(turning(), ids=row[None]) for row in ids])
    model = turning()
    rewrite(model)
    np.testing.assert_allclose(run(model, ids=ids), alone, rtol=0, atol=1e-6)


def test_heads_that_come_in_another_way_get_the_tables_only(turning, show):
    model = turning(
        heads="split = Reshape(x, turned)\n q = Transpose<perm = [0, 3, 1, 2]>(split)",
        turned=np.array([0, 0, 32, 2]),
    )
    assert rewrite(model)
    assert show(model) == [
        "%0 = Shape(ids)",
        "%1 = Shape<end=2, start=1>(ids)",
        "%2 = Slice(rotary/row, rotary/start, %1, rotary/axis)",
        "%3 = Expand(%2, %0)",
        "x = Gather(words, ids)",
        "split = Reshape(x, turned)",
        "q = Transpose<perm=(0, 3, 1, 2)>(split)",
        "y = RotaryEmbedding(q, rotary/table_0, rotary/table_1, %3)",
    ]


@pytest.mark.parametrize("angles", [FROM_THE_END, BY_TOKENS], ids=["from_the_end", "by_tokens"])
def test_what_hangs_on_more_than_positions_is_left_alone(turning, show, angles):
    model = turning(angles)
    clean()(model)
    before = show(model)
    assert not rewrite(model)
    assert show(model) == before


def test_a_second_time_changes_nothing(turning, show):
    model = turning()
    assert rewrite(model)
    before = show(model)
    assert not rewrite(model)
    assert show(model) == before


def test_a_graph_that_computes_its_tables_does_not_pass_for_a_rewritten_one(turning):
    with pytest.raises(ir.passes.PostconditionError, match="RotaryEmbedding"):
        RotaryLayout(LONGEST).ensures(turning())


def test_an_input_that_is_no_tokens_is_refused(parse):
    model = parse("p (float[batch, tokens] x) => (float[batch, tokens] y) { y = Neg(x) }")
    with pytest.raises(ir.passes.PreconditionError, match=r"int64 \(batch, tokens\): \['x'\]"):
        RotaryLayout(LONGEST)(model)
