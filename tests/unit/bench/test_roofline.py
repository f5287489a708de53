import numpy as np
import pytest

from polyhead.bundle import read
from polyhead_bench import roofline
from polyhead_bench.roofline import Peak


def test_operations_are_those_counted_by_hand():
    # One layer, hidden 2, feed-forward 3, 5 tokens, in products: q, k, v, o 4*5*2*2 = 80; up and
    # down 2*5*2*3 = 60; scores and mix 2*5*5*2 = 100. A product with its sum is two operations.
    found = roofline.operations(layers=1, hidden=2, feed_forward=3, tokens=5)
    assert found * 1e9 == pytest.approx(2 * (80 + 60 + 100))


def test_operations_grow_with_layers():
    one, six = (
        roofline.operations(layers=n, hidden=384, feed_forward=1536, tokens=16) for n in (1, 6)
    )
    assert six == pytest.approx(6 * one)


@pytest.mark.parametrize(
    ("kind", "flags", "count"),
    [("int8", ["avx512f", "avx512_vnni"], 256), ("fp32", ["avx512f"], 64), ("fp32", ["avx2"], 32)],
)
def test_operations_a_cycle_follow_the_flags(kind, flags, count):
    assert roofline._per_cycle(kind, flags) == count


def test_a_graph_is_timed_and_its_time_split(models):
    bundle = read(models.bundle)
    graph = bundle.manifest.graphs[0]
    feeds = {name: np.full((1, 16), 5, np.int64) for name in graph.inputs}
    peak = Peak(kind="fp32", measured=50.0, theoretical=None)
    point = roofline.measure(bundle.file(graph), feeds, gop=0.001, peak=peak)
    assert point.tokens == 16
    assert point.share == pytest.approx(0.001 / (point.ms / 1e3) / 50)
    assert sum(point.by_operator.values()) == pytest.approx(1)
    assert list(point.by_operator.values()) == sorted(point.by_operator.values(), reverse=True)
