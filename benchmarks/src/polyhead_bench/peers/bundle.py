"""A polyhead bundle, as its users load it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polyhead
from polyhead.inference import threads as thread_budget
from polyhead.text.encoding import Input
from polyhead_bench.peers.base import Answers

_REPEATS = 5


class BundlePeer:
    """An engine; it schedules lists by itself."""

    schedules = ("engine",)

    def __init__(self, folder: Path, threads: int, heads: Sequence[str] | None) -> None:
        self._engine = polyhead.load(folder, threads=threads)
        self._heads = list(heads) if heads else None
        self.callers = threads

    def answer(self, text: Input) -> Answers:
        """Answer one text."""
        return _plain(self._engine(text, heads=self._heads))

    def answer_all(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Answer many; the engine groups them by length."""
        return [_plain(p) for p in self._engine.predict(texts, heads=self._heads)]

    def profile(self, text: Input) -> Mapping[str, float]:
        """The graph is timed by itself on the same ids, by the session that the engine uses."""
        engine = self._engine
        heads = self._heads or list(engine.heads)
        engine.warmup()
        total = _ms(lambda: engine(text, heads=self._heads))
        tokenise = _ms(lambda: engine.encode([text]))
        (encoding,) = engine.encode([text])
        narrow = engine._model.backend
        wide = narrow.wide if len(encoding) >= thread_budget.WIDE_FROM else None
        session = wide or narrow
        outputs = [engine._model.specs[name].output for name in heads]
        feeds = encoding.split()[0].feeds(session.inputs)
        run = _ms(lambda: session.run(outputs, feeds))
        return {
            "tokenise": tokenise,
            "run": run,
            "decode": max(0.0, total - tokenise - run),
            "tokens": float(len(encoding)),
        }

    def info(self) -> Mapping[str, Any]:
        """What the engine says."""
        return self._engine.info()


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> BundlePeer:
    """Load the bundle in `folder`."""
    return BundlePeer(folder, threads, options.get("heads"))


def _plain(prediction: polyhead.Prediction) -> Answers:
    return {name: result.to_dict() for name, result in prediction.results.items()}


def _ms(call: Any) -> float:
    """The shortest of a few calls, in ms: the rest is what else the machine did."""
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return min(times)
