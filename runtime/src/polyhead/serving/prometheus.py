"""A batcher's numbers as Prometheus metrics; needs ``pip install "polyhead[prometheus]"``.

    collector = polyhead.serving.prometheus.register(batcher)

Names begin with ``polyhead_``. One process, one registry: with several workers each worker answers
its own `/metrics`, or serves it on a port of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from polyhead.errors import MissingExtra
from polyhead.serving.batcher import Batcher
from polyhead.serving.stats import QUEUE_BOUNDS_MS

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

_COUNTERS = {
    "requests": "Requests taken in.",
    "answered": "Requests that got a prediction.",
    "errors": "Requests that got an error of the engine.",
    "expired": "Requests that met DeadlineExceeded.",
    "cancelled": "Requests whose caller gave up.",
    "rejected": "Requests that met QueueFull.",
    "shared": "Requests that joined an equal one in flight.",
    "batches": "Calls of the engine.",
    "texts": "Texts in calls of the engine.",
    "windows": "Windows that texts were read in.",
    "tokens": "Tokens of these windows.",
    "groups": "Groups of windows of equal length.",
    "group_tokens": "Most tokens that these groups could have had.",
}
_GAUGES = {
    "waiting": "Requests that wait for a thread.",
    "running": "Batches that threads have now.",
    "group_fill": "Tokens in a group by the most that it may have, 0 to 1, since the start.",
}
_OF_CASCADE = {
    "texts": "Texts that the engine was asked heads of its cascade for, by whomever.",
    "escalated": "Of these, texts for which the teacher was asked, too.",
}


class BatcherCollector:
    """Reads a batcher's numbers whenever Prometheus asks."""

    def __init__(self, batcher: Batcher, labels: Mapping[str, str]) -> None:
        self._batcher = batcher
        self._names, self._values = list(labels), list(labels.values())

    def collect(self) -> Iterator[Metric]:
        """The metrics now; what prometheus-client calls."""
        from prometheus_client.metrics_core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        stats = self._batcher.stats()
        for name, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"polyhead_{name}", text, labels=self._names)
            counter.add_metric(self._values, getattr(stats, name))
            yield counter
        for name, count in self._batcher.engine.info().get("cascade", {}).items():
            if name in _OF_CASCADE:
                counter = CounterMetricFamily(
                    f"polyhead_cascade_{name}", _OF_CASCADE[name], labels=self._names
                )
                counter.add_metric(self._values, count)
                yield counter
        for name, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"polyhead_{name}", text, labels=self._names)
            gauge.add_metric(self._values, getattr(stats, name))
            yield gauge
        queue = HistogramMetricFamily(
            "polyhead_queue_seconds", "Seconds that texts waited for a thread.", labels=self._names
        )
        bounds = [*(str(ms / 1e3) for ms in QUEUE_BOUNDS_MS), "+Inf"]
        buckets = list(zip(bounds, stats.queue_histogram, strict=True))
        queue.add_metric(self._values, buckets=buckets, sum_value=stats.queue_ms / 1e3)
        yield queue


def register(
    batcher: Batcher,
    registry: CollectorRegistry | None = None,
    labels: Mapping[str, str] | None = None,
) -> BatcherCollector:
    """Show a batcher's numbers to Prometheus.

    Args:
        batcher: open or not.
        registry: of prometheus-client; None for its default one.
        labels: to distinguish several batchers of one registry: ``{"bundle": "intents"}``.

    Returns:
        The collector, for ``registry.unregister(collector)``.

    Raises:
        MissingExtra: when prometheus-client is not installed.
    """
    try:
        from prometheus_client import REGISTRY
    except ImportError as problem:
        raise MissingExtra(
            "prometheus-client is not installed; metrics for Prometheus need it. Run"
            " 'pip install \"polyhead[prometheus]\"', or read batcher.stats()."
        ) from problem
    collector = BatcherCollector(batcher, labels or {})
    (REGISTRY if registry is None else registry).register(collector)
    return collector
