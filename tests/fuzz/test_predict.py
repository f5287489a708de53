"""Any Python object as input: an answer or an error of the tree."""

import json
from contextlib import suppress

import numpy as np
from fuzz_budget import fuzzed
from hypothesis import given
from hypothesis import strategies as st

from polyhead import InputError, Prediction

WORDS = (
    "late",
    "parcel",
    "Oslo",
    "東京",
    "👩‍💻",
    "🇳🇴",
    "e\u0301",
    "İ",
    "ß",
    "ﬃ",
    "\u200b",
    "\r\n",
    "\t",
)
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=st.characters(), max_size=20),  # lone surrogates too
    st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join),
    st.builds(str.__mul__, st.text(min_size=1, max_size=3), st.integers(0, 3000)),
)
PAIRS = st.tuples(TEXTS, TEXTS)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NAMES = (
    "topic",
    "flags",
    "urgency",
    "entities",
    "match",
    "answer",
    "summary",
    "embedding",
    "short",
)
SETTINGS = ("n", "k", "ratio", "words", "characters", "dimensions", "threshold", "extra")
HEADS = st.none() | st.lists(st.sampled_from((*NAMES, "topics", "")), max_size=4) | JUNK
OPTIONS = (
    st.none()
    | st.dictionaries(
        st.sampled_from((*NAMES, "x")),
        st.dictionaries(st.sampled_from(SETTINGS), JUNK, max_size=2) | JUNK,
        max_size=3,
    )
    | JUNK
)
BATCHES = st.lists(TEXTS | PAIRS, max_size=6)


def check(prediction, item):
    """A prediction belongs to its input, is finite and goes through JSON."""
    assert isinstance(prediction, Prediction)
    query, text = item if isinstance(item, tuple) else (None, item)
    assert (prediction.query, prediction.text) == (query, text)
    json.dumps(prediction.to_dict(), allow_nan=False)
    if "embedding" in prediction:
        assert np.isfinite(prediction["embedding"].vector).all()
    if "entities" in prediction:
        for span in prediction["entities"].spans:
            assert span.text == text[span.start : span.end]


@fuzzed(0.2)
@given(batch=BATCHES)
def test_texts_and_pairs(engine_of_many_heads, batch):
    try:
        found = engine_of_many_heads.predict(batch)
    except InputError:
        return
    assert len(found) == len(batch)
    for prediction, item in zip(found, batch, strict=True):
        check(prediction, item)


@fuzzed(0.1)
@given(item=TEXTS | PAIRS, heads=HEADS, options=OPTIONS)
def test_heads_and_options(engine_of_many_heads, item, heads, options):
    with suppress(InputError):
        check(engine_of_many_heads(item, heads=heads, options=options), item)


@fuzzed(0.1)
@given(texts=JUNK | st.lists(JUNK, max_size=3))
def test_anything_at_all(engine_of_many_heads, texts):
    try:
        found = engine_of_many_heads.predict(texts)
    except InputError:
        return
    assert len(found) == len(texts)
