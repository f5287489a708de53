import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polyhead import InvalidSetting
from polyhead.heads import HeadSpec, decoder
from polyhead.text.encoding import Encoding

SPEC = HeadSpec(kind="embedding.v1", output="logits/embedding", pooling="mean", max_tokens=16)
EMPTY = Encoding("", np.empty(0, np.int64), np.empty((0, 2), np.int64), np.empty(0, bool))


def decode(logits, *, sizes=(), **options):
    spec = replace(SPEC, dimensions=sizes)
    return decoder("embedding", spec).decode(np.asarray(logits, np.float32), EMPTY, **options)


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


@given(
    hnp.arrays(np.float32, 8, elements=st.floats(-1e4, 1e4, width=32)),
    st.sampled_from([1, 3, 8]),
)
def test_fewer_dimensions_are_the_first_ones_as_a_vector_of_their_own(logits, size):
    found = decode(logits, sizes=(1, 3, 8), dimensions=size).vector
    assert found.shape == (size,)
    assert found.dtype == np.float32
    assert np.array_equal(found, decode(logits[:size]).vector)


def test_all_dimensions_are_kept_when_the_call_does_not_say():
    assert decode(np.ones(8), sizes=(2, 4)).vector.shape == (8,)


@pytest.mark.parametrize("size", [3, 0, -2, 2.0, "2", [2]], ids=repr)
def test_a_size_that_was_not_trained_is_refused(size):
    with pytest.raises(InvalidSetting, match=r"dimensions=.*: this head was trained for 2, 4\."):
        decode(np.ones(8), sizes=(2, 4), dimensions=size)


def test_a_vector_that_is_only_good_as_a_whole_is_not_cut():
    with pytest.raises(InvalidSetting, match="its full size only; leave the option out"):
        decode(np.ones(8), dimensions=4)


def test_vectors_are_equal_by_their_numbers():
    one, same, other = (decode(logits) for logits in ([3, 4, 0], [6, 8, 0], [4, 3, 0]))
    assert one == same
    assert hash(one) == hash(same)
    assert one not in (other, decode([3, 4]), 1)
