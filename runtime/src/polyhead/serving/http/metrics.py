"""What the server counts and measures, for Prometheus, in base units.

With ``PROMETHEUS_MULTIPROC_DIR`` in the environment all processes that have it count together.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from polyhead.prediction import Prediction
from polyhead.serving.stats import BatchReport

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_TEXTS = (1, 2, 4, 8, 16, 32, 64)
_MOST_HEAD_SETS = 64
"""Labels that strangers may bring forth; further sets are counted as ``other``."""
NONE = "none"


@dataclass(slots=True)
class RequestFacts:
    """What is known of a request while it is answered.

    Attributes:
        model: that answers; ``none`` until that is known.
        head_set: the asked heads, as a label.
        outcome: ``ok``, or the class of the error that was answered.
    """

    model: str = NONE
    head_set: str = NONE
    outcome: str = "ok"


current: ContextVar[RequestFacts] = ContextVar("current")
"""Of the request that this task answers."""


def refused(problem: Exception) -> None:
    """Say that the request that this task answers failed, and how."""
    facts = current.get(None)
    if facts is not None:
        facts.outcome = type(problem).__name__


class Metrics:
    """The metrics of one service."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        by_heads = ("model", "head_set")

        def histogram(
            name: str, text: str, labels: Sequence[str], buckets: Sequence[float]
        ) -> Histogram:
            return Histogram(f"polyhead_{name}", text, labels, registry=registry, buckets=buckets)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"polyhead_{name}", text, labels, registry=registry)

        self._request = histogram(
            "request_seconds",
            "From a request's head to the end of its answer.",
            (*by_heads, "outcome"),
            _SECONDS,
        )
        self._queue = histogram(
            "queue_seconds", "That a text waited for a thread.", by_heads, _SECONDS
        )
        self._tokenize = histogram(
            "tokenize_seconds", "That a batch was tokenised.", by_heads, _SECONDS
        )
        self._compute = histogram(
            "compute_seconds", "That a batch was computed and decoded.", by_heads, _SECONDS
        )
        self._batch_tokens = histogram("batch_tokens", "Tokens of a batch.", ("model",), _TOKENS)
        self._batch_texts = histogram("batch_texts", "Texts of a batch.", ("model",), _TEXTS)
        self._texts = counter(
            "texts", "Texts of batches, by what became of them.", "model", "outcome"
        )
        self._tokens = counter("tokens", "Tokens that were read.", "model")
        self._windows = counter("windows", "Windows that texts were read in.", "model")
        self._truncated = counter("truncated", "Texts whose end was left out.", "model")
        self._in_flight = Gauge(
            "polyhead_requests_in_flight",
            "Requests that are being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._waiting = Gauge(
            "polyhead_waiting_texts",
            "Texts that wait for a thread.",
            ["model"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._head_sets: dict[tuple[str, ...], str] = {}

    def head_set(self, heads: Sequence[str] | None, known: Sequence[str]) -> str:
        """Asked heads as a label, in an order of their own; ``all`` for None."""
        if heads is None:
            return "all"
        key = tuple(heads)
        label = self._head_sets.get(key)
        if label is None:
            if len(self._head_sets) >= _MOST_HEAD_SETS or not all(name in known for name in key):
                return "other"
            label = self._head_sets[key] = "+".join(sorted(set(key))) or NONE
        return label

    def begun(self) -> None:
        """A request came."""
        self._in_flight.inc()

    def ended(self, facts: RequestFacts, seconds: float) -> None:
        """A request was answered."""
        self._in_flight.dec()
        self._request.labels(facts.model, facts.head_set, facts.outcome).observe(seconds)

    def waiting(self, model: str, texts: int) -> None:
        """So many texts wait now."""
        self._waiting.labels(model).set(texts)

    def batch(self, model: str, head_set: str, report: BatchReport) -> None:
        """A batch was computed."""
        queue = self._queue.labels(model, head_set)
        for seconds in report.waited:
            queue.observe(seconds)
        self._tokenize.labels(model, head_set).observe(report.tokenize_s)
        self._compute.labels(model, head_set).observe(report.compute_s)
        self._batch_tokens.labels(model).observe(report.shape.tokens)
        self._batch_texts.labels(model).observe(len(report.found))
        self._tokens.labels(model).inc(report.shape.tokens)
        self._windows.labels(model).inc(report.shape.windows)
        for outcome, count in Tally(map(_outcome, report.found)).items():
            self._texts.labels(model, outcome).inc(count)
        cut = sum(isinstance(found, Prediction) and found.truncated for found in report.found)
        self._truncated.labels(model).inc(cut)

    def text(self) -> bytes:
        """All as Prometheus reads them; of all processes where they count together."""
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _outcome(found: Prediction | BaseException | None) -> str:
    if isinstance(found, Prediction):
        return "ok"
    return "dropped" if found is None else type(found).__name__
