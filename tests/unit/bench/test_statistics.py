import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead_bench import statistics
from polyhead_bench.statistics import Interval

ROUNDS = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30)


@given(ROUNDS)
def test_an_interval_contains_the_median_and_stays_within_the_values(values):
    found = statistics.median(values)
    assert found.value == np.median(values)
    assert min(values) <= found.low <= found.value <= found.high <= max(values)


@given(ROUNDS, st.floats(0.5, 2.0))
def test_a_ratio_of_proportional_rounds_is_a_point(values, factor):
    found = statistics.ratio([factor * v for v in values], values)
    assert (found.low, found.value, found.high) == pytest.approx((factor,) * 3)


def test_a_ratio_is_taken_by_round_so_that_a_slow_round_of_both_does_not_count():
    assert statistics.ratio([2, 20, 2], [1, 10, 1]) == Interval(value=2, low=2, high=2)


def test_an_interval_is_reproducible_and_narrows_with_more_rounds():
    random = np.random.default_rng(0)
    few, many = random.normal(3, 0.5, 6), random.normal(3, 0.5, 300)
    assert statistics.median(few, seed=1) == statistics.median(few, seed=1)
    widths = [found.high - found.low for found in map(statistics.median, (few, many))]
    assert widths[1] < widths[0] / 2


def test_the_interval_covers_the_true_median_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    found = [statistics.median(random.normal(0, 1, 25)) for _ in range(200)]
    assert np.mean([one.low <= 0 <= one.high for one in found]) > 0.88


def test_the_spread_is_that_of_numpys_percentiles():
    values = np.random.default_rng(2).gamma(2, 3, 50)
    low, middle, high = np.percentile(values, [10, 50, 90])
    assert statistics.spread(list(values)) == (high - low) / middle
    assert statistics.spread([4, 4, 4]) == 0


@pytest.mark.parametrize(
    ("other", "meets"),
    [((2, 3), True), ((3, 4), True), ((1, 5), True), ((3.1, 4), False), ((0, 0.9), False)],
    ids=str,
)
def test_intervals_overlap_when_they_share_a_point(other, meets):
    low, high = other
    one, two = Interval(value=2, low=1, high=3), Interval(value=low, low=low, high=high)
    assert one.overlaps(two) is two.overlaps(one) is meets
