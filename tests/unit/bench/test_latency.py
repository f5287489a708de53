import numpy as np
import pytest

from polyhead_bench import latency
from polyhead_bench.errors import BenchError
from polyhead_bench.latency import compare

TEXTS = ["The parcel was late.", "Thanks!", ""]


@pytest.fixture(scope="module")
def comparison(models):
    return compare(models.bundle, ("torch", models.checkpoint), TEXTS, threads=1, rounds=2)


def test_a_comparison_has_the_bundle_first_then_the_other_engine(comparison):
    assert [engine.engine for engine in comparison.engines] == ["polyhead", "torch"]


def test_a_comparison_tells_what_was_measured(comparison):
    assert (comparison.texts, comparison.rounds, comparison.threads) == (3, 2, 1)


def test_the_float_bundle_decides_as_its_checkpoint(comparison):
    assert [engine.same_decisions for engine in comparison.engines] == [1, 1]


def test_times_are_positive_and_in_order(comparison):
    for engine in comparison.engines:
        assert 0 < engine.p50 <= engine.p99


def test_the_interval_holds_the_speedup(comparison):
    low, high = comparison.interval
    assert 0 < low <= comparison.speedup <= high


def test_an_engine_that_cannot_be_loaded_stops_the_comparison(models, tmp_path):
    with pytest.raises(BenchError, match=r"'torch' ended with code 1: .*no checkpoint here"):
        compare(models.bundle, ("torch", tmp_path / "none"), TEXTS, threads=1, rounds=1)


@pytest.mark.parametrize("rounds", [1, 2, 5, 20])
def test_an_interval_contains_the_median(rounds):
    ratios = np.random.default_rng(rounds).uniform(2, 3, rounds)
    low, high = latency.interval(ratios, 0)
    assert ratios.min() <= low <= np.median(ratios) <= high <= ratios.max()


@pytest.mark.parametrize("rounds", [1, 5])
def test_an_interval_of_equal_ratios_is_a_point(rounds):
    assert latency.interval(np.full(rounds, 2.5), 0) == (2.5, 2.5)


def test_an_interval_is_reproducible_and_narrows_with_more_rounds():
    random = np.random.default_rng(0)
    few, many = random.normal(3, 0.5, 6), random.normal(3, 0.5, 300)
    assert latency.interval(few, 1) == latency.interval(few, 1)
    widths = [high - low for low, high in (latency.interval(r, 0) for r in (few, many))]
    assert widths[1] < widths[0] / 2


def test_p50_and_p99_are_over_all_rounds():
    times = np.random.default_rng(2).gamma(2.0, 3.0, (5, 80))
    found = latency._latency("engine", times, 0.5)
    assert found.p50 == np.median(times)
    assert found.p99 == np.quantile(times.reshape(-1), 0.99)
    assert (found.engine, found.same_decisions) == ("engine", 0.5)


def test_agreement_is_the_share_of_texts_and_heads_with_the_same_decision():
    one = [{"topic": "a", "entities": [["X", 0, 1]]}, {"topic": "b", "entities": []}]
    other = [{"topic": "a", "entities": []}, {"topic": "b", "entities": []}]
    assert latency._agreement(one, other) == 0.75
    assert latency._agreement(one, one) == 1
