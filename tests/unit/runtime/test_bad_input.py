import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead import InvalidText, PolyheadError, UnknownHead, load


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
        pytest.param({"a": 1}, "dict", id="dict"),
        pytest.param({"a"}, "set", id="set"),
        pytest.param((t for t in ["a"]), "generator", id="generator"),
        pytest.param(np.array(["a"]), "ndarray", id="array"),
    ],
)
def test_what_is_no_list_of_texts_is_named(engine, texts, name):
    with pytest.raises(InvalidText, match=f"texts: found {name}, expected a list of str"):
        engine.predict(texts)


@pytest.mark.parametrize(
    ("item", "name"),
    [
        pytest.param(None, "NoneType", id="none"),
        pytest.param(b"bytes", "bytes", id="bytes"),
        pytest.param(5, "int", id="number"),
        pytest.param(float("nan"), "float", id="nan"),
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


def test_nothing_is_computed_before_every_text_was_checked(engine):
    with pytest.raises(UnknownHead):
        engine.predict([], heads=["zzz"])
