"""Memory of a fresh process: as more texts come, and by the settings of an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polyhead.text.encoding import Input
from polyhead_bench import peers
from polyhead_bench.errors import PeerFault
from polyhead_bench.scenarios.context import Context

BATCH_TOKENS = (64, 256, 1024, 4096)
_LISTS = (1, 1, 4, 32, 1, 16)
"""As a service asks: sometimes one text, sometimes a few dozen."""


def measure(context: Context) -> dict[str, Any]:
    """By peer, bytes: ``loaded``, after a tenth of the texts (``few``), after all (``many``).

    Of a polyhead bundle ``by_settings``, too: for ``batch_tokens`` and threads, both as text, the
    bytes after all texts of the run at once.
    """
    texts = context.source.mixed(context.settings.many, mean=28, longest=128, seed=1).inputs
    for name in list(context.roster.workers):
        try:
            context.found[name] = _growth(context, name, texts)
            if peers.spec(name).module == "bundle":
                context.found[name]["by_settings"] = _by_settings(context, name)
        except PeerFault as fault:
            context.roster.report(name, f"memory: {fault}")
    return context.found


def _growth(context: Context, name: str, texts: Sequence[Input]) -> dict[str, Any]:
    few = max(1, len(texts) // 10)
    with context.start(name, {}) as worker:
        found: dict[str, Any] = {"loaded": worker.ask("memory")["rss"]}
        for mark, part in (("few", texts[:few]), ("many", texts[few:])):
            place = 0
            while place < len(part):
                size = _LISTS[place % len(_LISTS)]
                worker.ask("offline", texts=part[place : place + size])
                place += size
            found[mark] = worker.ask("memory")["rss"]
    return found


def _by_settings(context: Context, name: str) -> Mapping[str, Mapping[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for batch_tokens in BATCH_TOKENS:
        for threads in _counts(context.settings.threads):
            options = {"batch_tokens": batch_tokens, "threads": threads}
            with context.start(name, options) as worker:
                worker.ask("offline", texts=context.texts.inputs)
                row = found.setdefault(str(batch_tokens), {})
                row[str(threads)] = worker.ask("memory")["rss"]
    return found


def _counts(budget: int) -> list[int]:
    """1, 2, 4 and so on, and all."""
    return sorted({2**power for power in range(budget.bit_length())} | {budget})
