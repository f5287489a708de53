"""Rounding that makes up for its errors, against every rounding there is and the nearest."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead_export.passes.quantise_linears import LARGEST, weight_scales
from polyhead_export.quantisation.rounding import compensated, nearest

SEEDS = st.integers(0, 2**32 - 1)


def inputs(seed, width, tokens=4000):
    """Tokens whose channels go together, and have sizes of their own."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(tokens, width)) @ random.normal(size=(width, width))
    return (mixed * random.uniform(0.1, 10, size=width)).astype(np.float32)


def weight_of(seed, width, outputs):
    return np.random.default_rng(seed + 1).normal(size=(width, outputs)).astype(np.float32)


def rounded(rows, weight):
    return compensated(weight, rows.T @ rows, len(rows))


def error(rows, weight, values):
    """Of each output: the squared error of what the linear computes."""
    return np.square(rows @ (values * weight_scales(weight) - weight)).sum(axis=0)


def test_it_is_near_the_best_of_all_roundings():
    """Of four inputs that go together: each weight one of the six values around it."""
    lost, by_nearest = [], []
    for seed in range(20):
        random, weight = np.random.default_rng(seed), weight_of(seed, 4, 8)
        rows = random.normal(size=(4000, 4)) + 3 * random.normal(size=(4000, 1))
        values = rounded(rows.astype(np.float32), weight)
        low = np.floor(weight / weight_scales(weight))
        every = [
            error(rows, weight, low + np.reshape(step, (4, 1)))
            for step in itertools.product(range(-2, 4), repeat=4)
        ]
        best = np.min(every, axis=0).sum()
        lost.append(error(rows, weight, values).sum() / best)
        by_nearest.append(error(rows, weight, nearest(weight)).sum() / best)
    assert np.median(lost) < 1.1
    assert np.median(by_nearest) > 1.5 * np.median(lost)


@given(SEEDS, st.integers(1, 80), st.integers(100, 400))
def test_no_output_loses_more_than_by_the_nearest_values(seed, width, tokens):
    rows, weight = inputs(seed, width, tokens), weight_of(seed, width, 5)
    values = rounded(rows, weight)
    moments = rows.T.astype(np.float64) @ rows
    own = np.diagonal(moments).mean() * max(0.1, width / (width + tokens))

    def seen(kept):
        """On the tokens, with what each input is taken to be by itself."""
        wrong = weight - kept * weight_scales(weight)
        return np.einsum("io,io->o", wrong, moments @ wrong + own * wrong)

    assert (seen(values) <= seen(nearest(weight)) * (1 + 1e-3)).all()


@given(SEEDS)
def test_much_of_the_error_of_inputs_that_go_together_is_made_up_for(seed):
    rows, weight = inputs(seed, 96), weight_of(seed, 96, 16)
    rows[:, 1:] += 3 * rows[:, :1]
    values = rounded(rows, weight)
    assert error(rows, weight, values).sum() < 0.7 * error(rows, weight, nearest(weight)).sum()


def test_inputs_that_never_go_together_are_rounded_to_the_nearest_value():
    weight = weight_of(0, 64, 8)
    moments = np.diag(np.arange(64, dtype=np.float32))
    np.testing.assert_array_equal(compensated(weight, moments, 10_000), nearest(weight))


def test_few_tokens_count_for_little():
    """Of 64 inputs 4 tokens say that all go together, which is no knowledge of other tokens."""
    rows, weight = inputs(3, 64), weight_of(3, 64, 32)
    values = rounded(rows[:4], weight)
    by_nearest = error(rows, weight, nearest(weight)).sum()
    assert error(rows, weight, values).sum() < 1.1 * by_nearest


def test_outputs_are_rounded_as_if_alone():
    rows, weight = inputs(5, 40), weight_of(5, 40, 6)
    alone = [rounded(rows, weight[:, i : i + 1]) for i in range(6)]
    np.testing.assert_array_equal(rounded(rows, weight), np.concatenate(alone, axis=1))


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((50, 16), np.float32),
        np.ones((50, 16), np.float32),
        np.full((50, 16), 1e18, np.float32),
        np.full((50, 16), 1e-18, np.float32),
    ],
    ids=["all_0", "all_equal", "huge", "tiny"],
)
def test_tokens_that_say_nothing_of_their_channels(rows):
    weight = weight_of(0, 16, 4)
    values = rounded(rows, weight)
    assert values.dtype == np.int8
    assert np.abs(values).max() == LARGEST
    assert np.abs(values - weight / weight_scales(weight)).max() < 16


@given(SEEDS, st.floats(1e-3, 1e3))
def test_no_weight_is_outside_the_grid(seed, size):
    rows, weight = inputs(seed, 32, 64), weight_of(seed, 32, 8) * np.float32(size)
    values = rounded(rows, weight)
    assert np.abs(values.astype(int)).max() <= LARGEST


def test_two_products_of_the_grid_fit_into_16_bits():
    assert 2 * 255 * LARGEST < 2**15
