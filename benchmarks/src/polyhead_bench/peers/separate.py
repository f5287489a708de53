"""A bundle for each head, run one after the other: what one encoder pass for all saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyhead.text.encoding import Input
from polyhead_bench.peers.base import Answers
from polyhead_bench.peers.bundle import BundlePeer


class SeparatePeer:
    """Engines in one process, each with the head of its folder's name."""

    schedules = ("engines",)

    def __init__(self, folder: Path, threads: int, heads: Sequence[str] | None) -> None:
        names = heads or sorted(path.name for path in folder.iterdir() if path.is_dir())
        self._peers = [BundlePeer(folder / name, threads, None) for name in names]
        self.callers = threads

    def answer(self, text: Input) -> Answers:
        """Answer with one engine after the other."""
        return {k: v for peer in self._peers for k, v in peer.answer(text).items()}

    def answer_all(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Answer the whole list with one engine after the other."""
        parts = [peer.answer_all(texts, peer.schedules[0]) for peer in self._peers]
        return [{k: v for one in row for k, v in one.items()} for row in zip(*parts, strict=True)]

    def profile(self, text: Input) -> Mapping[str, float]:
        """Not told."""
        return {}

    def info(self) -> Mapping[str, Any]:
        """What the first engine says."""
        return self._peers[0].info()


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> SeparatePeer:
    """Load a bundle for each of the wanted heads; `folder` has one folder a head."""
    return SeparatePeer(folder, threads, options.get("heads"))
