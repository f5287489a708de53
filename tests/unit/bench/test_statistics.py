import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhead_bench import statistics
from polyhead_bench.statistics import Interval

TIMES = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=30)


@given(TIMES)
def test_an_interval_holds_the_median_and_lies_within_the_values(values):
    found = statistics.median(values)
    assert found.value == np.median(values)
    assert min(values) <= found.low <= found.value <= found.high <= max(values)


@given(TIMES)
def test_a_ratio_with_itself_is_one(values):
    assert statistics.ratio(values, values) == Interval(value=1.0, low=1.0, high=1.0)


@given(TIMES, st.floats(0.1, 10))
def test_a_ratio_is_taken_round_by_round(values, factor):
    found = statistics.ratio([factor * v for v in values], values)
    assert found.value == pytest.approx(factor)
    assert (found.low, found.high) == pytest.approx((factor, factor))


def test_a_slow_hour_of_the_machine_does_not_change_a_ratio():
    own = [1.0, 1.1, 5.0, 5.2, 1.0]
    found = statistics.ratio([3 * v for v in own], own)
    assert (found.low, found.high) == pytest.approx((3, 3))


def test_an_interval_is_reproducible_and_narrows_with_more_rounds():
    random = np.random.default_rng(0)
    few, many = random.normal(3, 0.5, 6), random.normal(3, 0.5, 300)
    assert statistics.median(few, seed=1) == statistics.median(few, seed=1)
    wide, narrow = (statistics.median(v) for v in (few, many))
    assert narrow.high - narrow.low < (wide.high - wide.low) / 2


def test_an_interval_covers_the_true_median_about_as_often_as_it_says():
    random = np.random.default_rng(3)
    found = [statistics.median(random.normal(5, 1, 25), seed=i) for i in range(300)]
    covered = np.mean([interval.low <= 5 <= interval.high for interval in found])
    assert 0.9 <= covered <= 0.99


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((1, 2), (3, 4), False),
        ((1, 3), (2, 4), True),
        ((1, 2), (2, 3), True),
        ((1, 9), (3, 4), True),
    ],
    ids=["apart", "partly", "touching", "inside"],
)
def test_intervals_overlap(one, other, expected):
    a, b = (Interval(value=low, low=low, high=high) for low, high in (one, other))
    assert a.overlaps(b) is b.overlaps(a) is expected


def test_spread_is_the_distance_of_percentiles_over_the_median():
    values = np.arange(1.0, 12.0)
    p10, p50, p90 = np.percentile(values, [10, 50, 90])
    assert statistics.spread(values) == pytest.approx((p90 - p10) / p50)
    assert statistics.spread([4.0, 4.0, 4.0]) == 0
