import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polyhead.heads import HeadSpec, decoder
from polyhead.tokenizing import Encoding

SPEC = HeadSpec(kind="embedding.v1", output="logits/embedding", pooling="mean", max_tokens=16)
EMPTY = Encoding("", np.empty(0, np.int64), np.empty((0, 2), np.int64), np.empty(0, bool))


def decode(logits):
    return decoder("embedding", SPEC).decode(np.asarray(logits, dtype=np.float32), EMPTY)


@given(hnp.arrays(np.float32, st.integers(1, 64), elements=st.floats(-1e4, 1e4, width=32)))
def test_the_length_is_one_or_zero(logits):
    vector = decode(logits).vector
    expected = 0.0 if np.abs(logits).max() < 1e-9 else 1.0
    if not 0 < np.abs(logits).max() < 1e-9:
        assert np.linalg.norm(vector.astype(np.float64)) == pytest.approx(expected, abs=1e-5)


def test_the_direction_is_kept():
    assert decode([3.0, -4.0]).vector.tolist() == pytest.approx([0.6, -0.8])


def test_a_zero_vector_stays_zero():
    assert decode(np.zeros(8)).vector.tolist() == [0.0] * 8


@pytest.mark.parametrize("size", [1e-30, 1e-15, 1e15], ids=str)
def test_extreme_vectors_stay_finite(size):
    assert np.isfinite(decode(np.full(8, size)).vector).all()


def test_the_vector_is_float32():
    assert decode([1.0, 2.0]).vector.dtype == np.float32


def test_there_is_no_decision():
    assert decode([1.0, 2.0]).decision is None


def test_plain_data_goes_through_json():
    found = decode([3.0, 4.0])
    assert json.loads(json.dumps(found.to_dict())) == {"vector": found.vector.tolist()}


def test_a_line_for_people():
    assert str(decode([3.0, 4.0])) == "2 numbers: +0.600, +0.800, …"
