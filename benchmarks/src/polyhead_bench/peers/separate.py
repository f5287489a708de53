"""Bundles that are run one after the other: what one encoder pass for all of them saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyhead.text.encoding import Input
from polyhead_bench.peers.base import Answers, Peer
from polyhead_bench.peers.bundle import BundlePeer


class SeparatePeer(Peer):
    """Engines in one process, in turn; the heads of the first keep their names."""

    schedules = ("engines",)
    concurrent = True

    def __init__(self, folder: Path, threads: int, heads: Sequence[str] | None) -> None:
        names = heads or sorted(path.name for path in folder.iterdir() if path.is_dir())
        self._peers = [BundlePeer(folder / name, threads, {}) for name in names]
        self.callers = threads

    def answer(self, text: Input) -> Answers:
        """Answer with one engine after the other."""
        return _merged([peer.answer(text) for peer in self._peers])

    def answer_all(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Answer the whole list with one engine after the other."""
        parts = [peer.answer_all(texts, peer.schedules[0]) for peer in self._peers]
        return [_merged(row) for row in zip(*parts, strict=True)]

    def info(self) -> Mapping[str, Any]:
        """What the first engine reports."""
        return self._peers[0].info()


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> SeparatePeer:
    """Load the bundles in `folder`: one for each of the wanted heads, or all that are there."""
    return SeparatePeer(folder, threads, options.get("heads"))


def _merged(answers: Sequence[Answers]) -> Answers:
    return {name: answer for one in reversed(answers) for name, answer in one.items()}
