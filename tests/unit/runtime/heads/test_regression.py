import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead import Regression
from polyhead.heads import HeadSpec, decoder
from polyhead.text.encoding import Encoding

SPEC = HeadSpec(kind="regression.v1", output="logits/stars", pooling="mean", max_tokens=16)
EMPTY = Encoding("", np.empty(0, np.int64), np.empty((0, 2), np.int64), np.empty(0, bool))
LOGIT = st.floats(-1e4, 1e4, width=32)


def decode(logit, scale=None):
    own = decoder("stars", replace(SPEC, scale=scale))
    return own.decode(np.array([logit], dtype=np.float32), EMPTY)


def test_the_value_is_in_the_unit_of_the_targets():
    assert decode(-1.5, scale=(1000.0, 4.0)).value == 994.0


def test_without_a_scale_the_value_is_the_logit():
    assert decode(2.5).value == 2.5


@given(LOGIT, st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_the_scale_can_be_undone(logit, offset, factor):
    value = decode(logit, scale=(offset, factor)).value
    rounding = 1e-15 * (abs(offset) + abs(value)) / factor
    assert (value - offset) / factor == pytest.approx(logit, rel=1e-12, abs=4 * rounding)


def test_digits_behind_a_large_offset_are_kept():
    one, two = (decode(x, scale=(1.7e9, 1.0)).value for x in (0.25, 0.5))
    assert two - one == 0.25


def test_there_is_one_logit():
    assert decoder("stars", SPEC).width == 1


def test_there_is_no_decision():
    assert decode(1.0).decision is None


def test_plain_data_goes_through_json():
    assert json.loads(json.dumps(decode(2.5).to_dict())) == {"value": 2.5}


@pytest.mark.parametrize(
    ("value", "line"), [(3.14159265, "3.14159"), (-20.0, "-20"), (1003.4, "1003.4"), (2e9, "2e+09")]
)
def test_a_line_for_people(value, line):
    assert str(Regression(value)) == line
