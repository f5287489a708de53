import numpy as np
import onnx_ir as ir
import pytest

from polyhead_export.passes.clean import clean
from polyhead_export.passes.fold_positions import FoldPositions

LONGEST = 12
POSITIONS = """
    p = Unsqueeze(line, first)
    e = Gather(table, p)
    a = Add(x, e)
"""
TYPES_AND_POSITIONS = """
    shape = Shape(ids)
    t = Expand(zero, shape)
    types = Gather(kinds, t)
    b = Add(x, types)
    p = Unsqueeze(line, first)
    e = Gather(table, p)
    a = Add(e, b)
"""
# No first rows of one table: e depends on the length, on the row of the batch, or on the tokens.
FROM_THE_END = "m = Sub(s, unit)\n back = Sub(m, line)\n" + POSITIONS.replace("(line,", "(back,")
BY_ROW = """
    k = Shape<start = 0, end = 1>(ids)
    rows = Squeeze(k)
    number = Range(zero, rows, unit)
    p = Unsqueeze(number, second)
    e = Gather(table, p)
    a = Add(x, e)
"""
BY_TOKENS = """
    one = Equal(ids, ids)
    there = Cast<to = 7>(one)
    q = CumSum(there, unit)
    p = Sub(q, unit)
    e = Gather(table, p)
    a = Add(x, e)
"""
SCORES = """
    turned = Transpose<perm = [0, 2, 1]>(x)
    scores = MatMul(x, turned)
    keys = Unsqueeze(line, first)
    queries = Unsqueeze(line, second)
    far = Sub(keys, queries)
    float_far = Cast<to = 1>(far)
    e = Unsqueeze(float_far, first)
    biased = Add(scores, e)
    a = MatMul(biased, x)
"""
MULTIPLIED = POSITIONS.replace("Add", "Mul")


@pytest.fixture
def embed(parse):
    random = np.random.default_rng(6)

    def make(body):
        return parse(
            f"""
            embed (int64[batch, tokens] ids) => (float[batch, tokens, 4] y) {{
                x = Gather(words, ids)
                n = Shape<start = 1, end = 2>(ids)
                s = Squeeze(n)
                line = Range(zero, s, unit)
                {body}
                y = LayerNormalization(a, scale)
            }}""",
            words=random.normal(size=(10, 4)).astype(np.float32),
            table=random.normal(size=(LONGEST, 4)).astype(np.float32),
            kinds=random.normal(size=(2, 4)).astype(np.float32),
            scale=np.ones(4, np.float32),
            zero=np.array(0),
            unit=np.array(1),
            first=np.array([0]),
            second=np.array([1]),
        )

    return make


def fold(model):
    """The pass, and the old nodes out, which nothing reads any more."""
    modified = FoldPositions(LONGEST)(model).modified
    clean()(model)
    return modified


def test_a_table_is_cut_to_the_length(embed, ops):
    model = embed(POSITIONS)
    assert fold(model)
    assert ops(model) == "Shape Gather Slice Add LayerNormalization"


def test_two_tables_become_one(embed, show):
    model = embed(TYPES_AND_POSITIONS)
    assert show(model) == [
        "x = Gather(words, ids)",
        "n = Shape<end=2, start=1>(ids)",
        "s = Squeeze(n)",
        "line = Range(zero, s, unit)",
        "shape = Shape(ids)",
        "t = Expand(zero, shape)",
        "types = Gather(kinds, t)",
        "b = Add(x, types)",
        "p = Unsqueeze(line, first)",
        "e = Gather(table, p)",
        "a = Add(e, b)",
        "y = LayerNormalization(a, scale)",
    ]
    assert fold(model)
    assert show(model) == [
        "%0 = Shape<end=2, start=1>(ids)",
        "x = Gather(words, ids)",
        "%1 = Slice(positions/types, positions/types/start, %0, positions/types/axis)",
        "b = Add(x, %1)",
        "y = LayerNormalization(b, scale)",
    ]


def test_an_input_that_is_no_tokens_is_refused(parse):
    model = parse("p (float[batch, tokens] x) => (float[batch, tokens] y) { y = Neg(x) }")
    with pytest.raises(ir.passes.PreconditionError, match=r"int64 \(batch, tokens\): \['x'\]"):
        FoldPositions(LONGEST)(model)


@pytest.mark.parametrize("shape", [(1, 1), (1, LONGEST), (3, 7)], ids=["one", "longest", "batch"])
@pytest.mark.parametrize("body", [POSITIONS, TYPES_AND_POSITIONS], ids=["one", "two"])
def test_the_numbers_stay(embed, run, random, body, shape):
    ids = random.integers(0, 10, shape)
    model = embed(body)
    before = run(model, ids=ids)
    fold(model)
    np.testing.assert_allclose(run(model, ids=ids), before, rtol=0, atol=1e-6)


def test_the_table_has_a_row_for_each_token_of_the_longest_text(embed):
    model = embed(TYPES_AND_POSITIONS)
    fold(model)
    shapes = [tuple(value.const_value.shape) for value in model.graph.initializers.values()]
    assert [shape for shape in shapes if len(shape) == 3] == [(1, LONGEST, 4)]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(FROM_THE_END, id="counted_from_the_end"),
        pytest.param(BY_ROW, id="by_row_of_the_batch"),
        pytest.param(BY_TOKENS, id="by_the_tokens"),
        pytest.param(SCORES, id="distances_of_tokens"),
        pytest.param(MULTIPLIED, id="not_added"),
    ],
)
def test_values_that_are_no_table_are_left_alone(embed, ops, body):
    model = embed(body)
    clean()(model)
    before = ops(model)
    assert not fold(model)
    assert ops(model) == before


@pytest.mark.parametrize("body", [POSITIONS, TYPES_AND_POSITIONS], ids=["one", "two"])
def test_a_second_time_changes_nothing(embed, ops, body):
    model = embed(body)
    assert fold(model)
    before = ops(model)
    assert not fold(model)
    assert ops(model) == before
