"""Settings of a point, from made-up observations with outliers."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead_export.passes.quantise_linears import Linear
from polyhead_export.quantisation.observe import Observation
from polyhead_export.quantisation.search import ALPHAS, ALPHAS_BY_TOKEN, search, search_by_token

WIDTH = 32
TENTH = 0.1


def point(factor=1.0, *, weights=2, seed=0, spike=0.0):
    """Tokens of 32 channels; channel 3 is `factor` times as large, one value is `spike`."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(400, WIDTH)).astype(np.float32)
    rows[:, 3] *= factor
    if spike:
        rows[7, 5] = spike
    linears = tuple(
        Linear(ir.node("MatMul", [], name=str(i)), None, _Weight(array))
        for i, array in enumerate(random.normal(size=(weights, WIDTH, 16)).astype(np.float32))
    )
    return observation(linears, rows)


def observation(linears, rows):
    low, high = rows.min(axis=0), rows.max(axis=0)
    return Observation("x", linears, low, high, rows, rows.T @ rows, len(rows))


class _Weight:
    def __init__(self, array):
        self._array = array

    def numpy(self):
        return self._array


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5, 2.0, 60.0])
@pytest.mark.parametrize("worth", [TENTH, 0.5, 1.0], ids=["tenth", "half", "all"])
def test_a_smoothing_takes_the_share_of_the_squared_error_that_is_asked(factor, worth):
    made = point(factor)
    plain = np.square(search(made, worth=None).errors).sum()
    best = np.square(search(made, worth=0.0).errors).sum()
    found = search(made, worth=worth)
    assert (found.factors is not None) == (best < (1 - worth) * plain)


def test_an_outlying_channel_is_smoothed_and_the_error_falls():
    plain = search(point(60.0), worth=None)
    found = search(point(60.0), worth=TENTH)
    assert found.alpha in ALPHAS
    assert found.factors[3] > 3 * np.delete(found.factors, 3).max()
    assert max(found.errors) < 0.5 * max(plain.errors)


def test_a_point_that_may_not_be_smoothed_is_not():
    assert search(point(60.0), worth=None).factors is None


def test_a_large_token_asks_for_less_smoothing_where_tokens_have_their_own_scale():
    made = point(8.0)
    made.rows[7] *= 100
    made = observation(made.linears, made.rows)
    static, by_token = search(made, worth=0.0), search_by_token(made, worth=0.0)
    assert by_token.alpha is None or by_token.alpha in ALPHAS_BY_TOKEN
    assert by_token.squared < static.squared


def test_a_point_with_scales_by_token_is_smoothed_where_it_helps():
    plain = search_by_token(point(60.0), worth=None)
    found = search_by_token(point(60.0), worth=TENTH)
    assert plain.factors is None
    assert found.alpha in ALPHAS_BY_TOKEN
    assert found.squared < 0.5 * plain.squared


def test_a_single_large_value_does_not_take_the_range_from_the_others():
    found = search(point(spike=40.0), worth=None)
    assert found.high < 40


def test_the_range_holds_zero():
    ahead = point()
    found = search(observation(ahead.linears, ahead.rows + 50), worth=None)
    assert found.low == 0.0 < found.high


def test_each_linear_has_an_error_of_its_own():
    assert len(search(point(weights=3), worth=0.0).errors) == 3


@pytest.mark.parametrize("worth", [0.0, TENTH], ids=["free", "costly"])
def test_channels_that_are_always_zero_are_left_alone(worth):
    dead = point(60.0)
    for array in (dead.rows, dead.low, dead.high):
        array[..., 9] = 0
    found = search(dead, worth=worth)
    assert np.isfinite(found.factors).all()
    assert found.factors[9] == 1


@given(st.floats(1.0, 200.0), st.integers(0, 50))
def test_smoothing_never_makes_the_error_larger(factor, seed):
    made = point(factor, seed=seed)
    plain = search(made, worth=None)
    found = search(made, worth=0.0)
    assert np.square(found.errors).sum() <= np.square(plain.errors).sum() + 1e-12
