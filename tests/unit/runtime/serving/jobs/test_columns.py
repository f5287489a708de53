"""What predictions become as Arrow columns, by the kinds of heads."""

import json

import numpy as np
import pyarrow as pa
import pytest

from polyhead import InvalidSetting, UnknownHead, WrongInput, load
from polyhead.serving.jobs.columns import ResultColumns, reason, refuse_clash

SPAN = pa.struct(
    [("text", pa.string()), ("start", pa.int32()), ("end", pa.int32()), ("score", pa.float32())]
)
LABELLED = pa.struct([("label", pa.string()), *SPAN])
TEXT = "Anna lives in Oslo. The parcel was late."


@pytest.fixture(scope="module")
def of_texts(engine_of_many_heads):
    return ResultColumns(engine_of_many_heads, pair=False)


@pytest.fixture(scope="module")
def of_pairs(engine_of_many_heads):
    return ResultColumns(engine_of_many_heads, pair=True)


def table(columns, predictions):
    return pa.Table.from_arrays(columns.arrays(predictions), schema=columns.schema)


def test_the_types_of_texts(of_texts):
    assert {field.name: field.type for field in of_texts.schema} == {
        "topic": pa.string(),
        "topic_score": pa.float32(),
        "flags": pa.list_(pa.string()),
        "urgency": pa.float64(),
        "entities": pa.list_(LABELLED),
        "summary": pa.list_(SPAN),
        "embedding": pa.list_(pa.float32(), 8),
        "short": pa.string(),
        "short_spans": pa.list_(SPAN),
    }


def test_the_types_of_pairs(of_pairs):
    assert {field.name: field.type for field in of_pairs.schema} == {
        "match": pa.string(),
        "match_score": pa.float32(),
        "answer": pa.string(),
        "answer_start": pa.int32(),
        "answer_end": pa.int32(),
        "answer_score": pa.float32(),
        "answer_no_answer": pa.float32(),
    }


@pytest.mark.parametrize("text", [TEXT, "", "né à 東京 👍 " * 9, ("is anna late?", TEXT)])
def test_a_row_is_that_of_the_prediction(of_texts, of_pairs, engine_of_many_heads, text):
    columns = of_pairs if isinstance(text, tuple) else of_texts
    prediction = engine_of_many_heads(text)
    [found] = table(columns, [prediction]).to_pylist()
    expected = prediction.to_row()
    if isinstance(text, str):  # a column has room for what a row of a table leaves out
        expected["short_spans"] = prediction["short"].to_dict()["spans"]
    assert [*found] == [name for name in expected if name in columns.schema.names]
    for name, value in found.items():
        wanted = pa.array([expected[name]], columns.schema.field(name).type).to_pylist()
        assert [value] == wanted, name


def test_what_has_no_prediction_is_null(of_texts, engine_of_many_heads):
    prediction = engine_of_many_heads(TEXT)
    found = table(of_texts, [None, prediction, None])
    for column in found.columns:
        assert column.is_null().to_pylist() == [True, False, True]
    vector = found["embedding"].to_pylist()[1]
    np.testing.assert_array_equal(np.float32(vector), prediction["embedding"].vector)


def test_no_predictions_are_columns_without_rows(of_texts):
    assert table(of_texts, []).num_rows == 0


def test_a_vector_is_as_long_as_the_option_says(engine_of_many_heads):
    columns = ResultColumns(
        engine_of_many_heads,
        pair=False,
        heads=["embedding"],
        options={"embedding": {"dimensions": 4}},
        prefix="p_",
    )
    assert columns.schema == pa.schema([("p_embedding", pa.list_(pa.float32(), 4))])


def test_what_is_cut_is_told_where_texts_are_truncated(many_heads):
    with load(many_heads, threads=1, on_overflow="truncate", heads=["topic"]) as engine:
        columns = ResultColumns(engine, pair=False, heads=["topic"])
        found = table(columns, [*engine.predict([TEXT, "late " * 99]), None])
    assert found["truncated"].to_pylist() == [False, True, None]


def test_a_column_of_the_input_is_never_covered(of_texts):
    refuse_clash(of_texts.schema.names, ["id", "score"])
    with pytest.raises(InvalidSetting, match="the column 'topic' is there already"):
        refuse_clash(of_texts.schema.names, ["id", "topic"])


def test_heads_are_checked_before_any_row(engine_of_many_heads):
    with pytest.raises(UnknownHead, match=r"no head 'topik'.*'topic'"):
        ResultColumns(engine_of_many_heads, pair=False, heads=["topik"])
    with pytest.raises(WrongInput):
        ResultColumns(engine_of_many_heads, pair=False, heads=["answer"])


def test_a_plugins_answer_is_json(engine_of_many_heads, monkeypatch):
    monkeypatch.delitem(
        __import__("polyhead.serving.jobs.columns", fromlist=["_PARTS"])._PARTS, "tokens.v1"
    )
    columns = ResultColumns(engine_of_many_heads, pair=False, heads=["entities"])
    prediction = engine_of_many_heads("Anna lives in Oslo", heads=["entities"])
    [found] = table(columns, [prediction])["entities"].to_pylist()
    assert json.loads(found) == prediction["entities"].to_dict()


def test_a_reason_does_not_name_the_place_in_a_list(engine_of_many_heads):
    [problem] = engine_of_many_heads.predict([7], errors="return")
    assert str(problem).startswith("input 0: ")
    assert reason(problem) == str(problem).removeprefix("input 0: ")
