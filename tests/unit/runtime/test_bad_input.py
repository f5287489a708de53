import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead import (
    Engine,
    InvalidText,
    PolyheadError,
    TextTooLong,
    UnknownHead,
    WrongInput,
    load,
)
from polyhead.inference.session import OnnxSession


@pytest.fixture(scope="module")
def engine(bundle):
    with load(bundle, threads=1) as engine:
        yield engine


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        pytest.param("one text", "str", id="str"),
        pytest.param(None, "NoneType", id="none"),
        pytest.param(b"bytes", "bytes", id="bytes"),
        pytest.param(b"", "bytes", id="no_bytes"),
        pytest.param(bytearray(b"x"), "bytearray", id="bytearray"),
        pytest.param(5, "int", id="number"),
        pytest.param(object(), "object", id="object"),
    ],
)
def test_what_is_no_list_of_texts_is_named(engine, texts, name):
    with pytest.raises(InvalidText, match=f"texts: found {name}, expected a list of str"):
        engine.predict(texts)


@pytest.mark.parametrize(
    ("table", "name"),
    [
        pytest.param({"a": 1}, "dict", id="dict"),
        pytest.param(np.array([["a", "b"]]), "ndarray", id="two_columns"),
        pytest.param(np.array("a"), "ndarray", id="no_column"),
    ],
)
def test_a_table_is_asked_for_one_column(engine, table, name):
    with pytest.raises(InvalidText, match=f"texts: found {name}, expected one column of texts"):
        engine.predict(table)


@pytest.mark.parametrize(
    ("item", "name"),
    [
        pytest.param(None, r"a missing value \(None\)", id="none"),
        pytest.param(b"bytes", "bytes", id="bytes"),
        pytest.param(5, "int", id="number"),
        pytest.param(1.5, "float", id="float"),
        pytest.param(float("nan"), r"a missing value \(nan\)", id="nan"),
        pytest.param(["nested"], "list", id="nested_list"),
        pytest.param(("a", "b", "c"), "tuple", id="three_texts"),
        pytest.param(("a", 5), "tuple", id="half_a_pair"),
        pytest.param({"text": "a"}, "dict", id="dict"),
    ],
)
def test_an_item_that_is_no_text_is_named_with_its_index(engine, item, name):
    with pytest.raises(InvalidText, match=f"input 1: found {name}, expected a str"):
        engine.predict(["fine", item])
    with pytest.raises(InvalidText, match=f"input 0: found {name}"):
        engine(item)


def test_a_lone_surrogate_is_named(engine):
    with pytest.raises(InvalidText, match=r"input 2: a lone surrogate U\+DC80 at character 1"):
        engine.predict(["a", "b", "x\udc80"])


def test_input_errors_are_value_errors(engine):
    with pytest.raises(ValueError, match="input 0"):
        engine(None)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary()
    | st.text(st.characters(exclude_categories=()), max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.frozensets(st.text()),
    max_leaves=8,
)


@given(value=ANYTHING)
def test_whatever_is_passed_there_is_an_answer_or_an_error_of_the_tree(engine, value):
    for call in (engine, engine.predict):
        try:
            call(value)
        except PolyheadError as problem:
            assert "input" in str(problem) or "texts" in str(problem)  # noqa: PT017


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        pytest.param(["topics"], r"no head 'topics'; .*Did you mean 'topic'\?", id="near"),
        pytest.param(["topic", "zzz"], r"no head 'zzz'; this engine has topic, ", id="far"),
        pytest.param("entitis", r"Did you mean 'entities'\?", id="str"),
        pytest.param([None], "no head None", id="none"),
        pytest.param([["topic"]], r"no head \['topic'\]", id="nested_list"),
        pytest.param(5, "heads: found int", id="number"),
    ],
)
def test_an_unknown_head_is_named(engine, heads, message):
    with pytest.raises(UnknownHead, match=message):
        engine("text", heads=heads)


def test_a_head_is_looked_for_without_a_text(engine):
    with pytest.raises(UnknownHead):
        engine.predict([], heads=["zzz"])


class Counting:
    """A session that counts its runs."""

    def __init__(self, session):
        self._session = session
        self.inputs = session.inputs
        self.runs = 0

    def run(self, outputs, feeds):
        self.runs += 1
        return self._session.run(outputs, feeds)

    def info(self):
        return self._session.info()


@pytest.fixture(params=["one", "two"])
def counted(request, bundle, engine):
    """A back end that counts, and an engine over it with one thread or two."""
    backend = Counting(OnnxSession(bundle / "model.onnx"))
    threads = {"one": 1, "two": 2}[request.param]
    limits = {"max_tokens": 24, "threads": threads, "on_overflow": "error"}
    with Engine(backend, engine.tokenizer, engine.heads, **limits) as counting:
        yield backend, counting


BAD = [
    pytest.param(None, InvalidText, id="no_text"),
    pytest.param("x\udc80", InvalidText, id="surrogate"),
    pytest.param("late " * 60, TextTooLong, id="too_long"),
    pytest.param(("who?", "Anna"), WrongInput, id="pair"),
]


@pytest.mark.parametrize(("bad", "error"), BAD)
def test_nothing_is_computed_before_every_text_was_checked(counted, bad, error):
    backend, engine = counted
    with pytest.raises(error, match="input 1: ") as caught:
        engine.predict(["fine", bad])
    assert caught.value.index == 1
    assert backend.runs == 0


@pytest.mark.parametrize(("bad", "error"), BAD)
def test_the_others_are_answered_where_errors_are_returned(counted, bad, error):
    backend, engine = counted
    first, problem, last = engine.predict(["fine", bad, "thanks, Anna"], errors="return")
    assert (type(problem), problem.index) == (error, 1)
    assert [first.to_dict(), last.to_dict()] == [
        engine(text).to_dict() for text in ("fine", "thanks, Anna")
    ]
    assert backend.runs > 0
