"""A polyhead bundle, as its users load it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polyhead
from polyhead.inference import threads as thread_budget
from polyhead.inference.session import OnnxSession
from polyhead.text.encoding import Input
from polyhead_bench.peers.base import Answers, Feeds, Peer, all_ones

SETTINGS = ("batch_tokens", "intra_op_threads", "intra_op_min_tokens", "provider", "on_overflow")
"""Options that are settings of `polyhead.load`."""


class BundlePeer(Peer):
    """An engine; it schedules lists by itself."""

    schedules = ("engine",)
    concurrent = True

    def __init__(self, folder: Path, threads: int, options: Mapping[str, Any]) -> None:
        """Load the bundle.

        Args:
            folder: of the bundle.
            threads: of the engine.
            options: ``heads`` to answer with, None for all, and `SETTINGS`.
        """
        heads = options.get("heads")
        settings = {name: options[name] for name in SETTINGS if name in options}
        self._engine = polyhead.load(folder, threads=threads, **settings)
        self._heads = list(heads) if heads else None
        self._folder, self.callers = folder, threads
        self._threads = settings.get("intra_op_threads", thread_budget.for_one_text(threads))
        self._from = settings.get("intra_op_min_tokens", math.inf)
        self._sessions: dict[int, OnnxSession] = {}

    def answer(self, text: Input) -> Answers:
        """Answer one text."""
        return _plain(self._engine(text, heads=self._heads))

    def answer_all(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Answer many; the engine groups them by length."""
        return [_plain(p) for p in self._engine.predict(texts, heads=self._heads)]

    def reload(self) -> None:
        """The same bundle, read again."""
        self._engine.reload()

    def encode(self, text: Input) -> Feeds:
        """The first window of a text."""
        (encoding,) = self._engine.encode([text])
        first = encoding.split()[0]
        return {**all_ones(first.ids[None]), "token_type_ids": first.token_types[None]}

    def run_graph(self, feeds: Feeds) -> Sequence[Any] | None:
        """The bundle's first graph in a session like the engine's own for texts of this shape."""
        rows, tokens = feeds["input_ids"].shape
        session = self._session(self._threads if rows > 1 or tokens >= self._from else 1)
        specs = self._engine.heads
        outputs = [specs[name].output for name in self._heads or specs]
        if not set(outputs) <= set(session.outputs):
            return None  # of several graphs
        return session.run(outputs, {name: feeds[name] for name in session.inputs})

    def info(self) -> Mapping[str, Any]:
        """What the engine reports."""
        return self._engine.info()

    def _session(self, threads: int) -> OnnxSession:
        if threads not in self._sessions:
            bundle = polyhead.bundle.read(self._folder)
            alone = OnnxSession(bundle.file(bundle.manifest.graphs[0]))
            self._sessions[threads] = alone if threads == 1 else alone.with_threads(threads)
        return self._sessions[threads]


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> BundlePeer:
    """Load the bundle in `folder`."""
    return BundlePeer(folder, threads, options)


def _plain(prediction: polyhead.Prediction) -> Answers:
    return {name: result.to_dict() for name, result in prediction.results.items()}
