import numpy as np
import pytest

from polyhead_export.passes.quantise_embeddings import QuantiseEmbeddings

GATHER = "g (int64[batch, tokens] ids) => (float[batch, tokens, 64] y) { y = Gather(table, ids) }"
ROWS = 5000


@pytest.fixture
def table(random):
    scale = random.uniform(0.01, 9, (ROWS, 1))
    return (random.normal(size=(ROWS, 64)) * scale).astype(np.float32)


def test_rows_are_kept_to_half_a_step_of_their_own(parse, show, run, table, random):
    model = parse(GATHER, table=table)
    assert show(model) == ["y = Gather(table, ids)"]
    assert QuantiseEmbeddings()(model).modified
    assert show(model) == [
        "%0 = Gather(table/rows, ids)",
        "%1 = Cast<to=1>(%0)",
        "%2 = Gather(table/scales, ids)",
        "y = Mul(%1, %2)",
    ]
    ids = random.integers(0, ROWS, (3, 7))
    step = np.abs(table[ids]).max(axis=-1, keepdims=True) / 127
    assert (np.abs(run(model, ids=ids) - table[ids]) <= step * 0.501).all()


def test_the_table_takes_a_quarter_of_the_bytes(parse, table):
    model = parse(GATHER, table=table)
    QuantiseEmbeddings()(model)
    kept = [node.inputs[0].const_value for node in model.graph if node.op_type == "Gather"]
    assert sum(value.nbytes for value in kept) == ROWS * 64 + ROWS * 4
    assert kept[0].numpy().dtype == np.int8


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GATHER, id="small"),
        pytest.param(
            "g (int64[n] ids) => (float[n, 64] y) { t = Neg(table)\n y = Gather(t, ids) }",
            id="computed",
        ),
        pytest.param(
            "g (int64[n] ids) => (float[5000, n] y) { y = Gather <axis = 1> (table, ids) }",
            id="columns",
        ),
    ],
)
def test_other_tables_stay_in_float(parse, ops, table, text):
    model = parse(text, table=table[:100] if text is GATHER else table)
    before = ops(model)
    assert not QuantiseEmbeddings()(model).modified
    assert ops(model) == before


def test_a_table_that_is_read_twice_is_kept_once(parse, table):
    text = "g (int64[n] a, int64[n] b) => (float[n, 64] y)"
    text += " { p = Gather(table, a)\n q = Gather(table, b)\n y = Add(p, q) }"
    model = parse(text, table=table)
    QuantiseEmbeddings()(model)
    rows = {node.inputs[0] for node in model.graph if node.op_type == "Gather"}
    assert len(rows) == 2
