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


def test_p50_and_p99_are_over_all_rounds():
    times = np.random.default_rng(2).gamma(2.0, 3.0, (5, 80))
    found = latency._latency("engine", times, 0.5)
    assert found.p50 == np.median(times)
    assert found.p99 == np.quantile(times.reshape(-1), 0.99)
    assert (found.engine, found.same_decisions) == ("engine", 0.5)
