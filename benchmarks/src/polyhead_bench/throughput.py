"""Texts a second over a ragged list: groups of equal length against padded batches, in turns."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyhead_bench import schedules, statistics
from polyhead_bench.checks import Check, ratio
from polyhead_bench.graphs import serving
from polyhead_bench.isolated import Note, measure
from polyhead_bench.peers import padded

OWN = "groups of equal length"


@dataclass(frozen=True)
class Rival:
    """Another graph of the same weights.

    Attributes:
        row: what the comparison is called.
        least: times its speed at its best schedule.
        orders: that it may take texts in, see `polyhead_bench.peers.padded.ORDERS`.
    """

    row: str
    least: float
    orders: tuple[str, ...]


RIVALS = {
    serving.PADDED: Rival(
        "texts/s by the same weights padded, sorted by 32", 1.2, ("batch 32, sorted",)
    ),
    serving.OPTIMUM: Rival("texts/s by Optimum's int8, best schedule", 1.5, padded.SCHEDULES),
}
ROWS = [(rival.row, f">= {rival.least:g}x") for rival in RIVALS.values()]


def run(
    bundle: Path,
    checkpoint: Path | None,
    *,
    cache: Path,
    texts: int,
    rounds: int,
    seed: int,
    note: Note,
) -> tuple[list[Check], dict[str, Any]]:
    """Race all schedules of all rivals, a process each, the order turned round after each turn.

    Args:
        bundle: folder of the bundle.
        checkpoint: behind it; None leaves the rivals unmeasured.
        cache: folder with Optimum's environment.
        texts: in the list.
        rounds: processes of each schedule, with two passes over the list in each.
        seed: of the texts.
        note: told what is done.
    """
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, Path] = {}
        faults = dict.fromkeys(RIVALS, "its checkpoint was not given, see --checkpoint")
        if checkpoint is not None:
            files, faults = serving.made(bundle, checkpoint, Path(folder), cache, note)
        others = _others(files)
        rates: dict[str, list[float]] = {name: [] for name in (OWN, *others)}
        decisions: dict[str, list[str]] = {}
        for turn in range(rounds):
            note(f"throughput: turn {turn + 1} of {rounds}, {len(rates)} schedules")
            for name in rates if turn % 2 == 0 else reversed(rates):
                found = measure(
                    "throughput",
                    bundle,
                    texts=texts,
                    rounds=2,
                    seed=seed,
                    other=others.get(name),
                )
                rates[name] += found["texts_per_s"]
                decisions[name] = found["decisions"]
    same = {
        name: float(np.mean([a == b for a, b in zip(decisions[OWN], found, strict=True)] or [True]))
        for name, found in decisions.items()
    }
    checks = [_check(name, rates, same, faults, seed) for name in RIVALS]
    return checks, {"texts_per_s": rates, "same_decisions": same, "faults": faults}


def _others(files: dict[str, Path]) -> dict[str, dict[str, str]]:
    """Settings of `schedules.answering` by the name of rival and schedule."""
    return {
        f"{rival}: {order}, {way}": {
            "graph": str(path),
            "options": serving.OPTIONS[rival],
            "order": order,
            "way": way,
        }
        for rival, path in files.items()
        for order, way in schedules.names(RIVALS[rival].orders)
    }


def _check(
    name: str,
    rates: dict[str, list[float]],
    same: dict[str, float],
    faults: dict[str, str],
    seed: int,
) -> Check:
    """Against the schedule that was the rival's best."""
    rival = RIVALS[name]
    if name in faults:
        limit = f">= {rival.least:g}x"
        return Check(name=rival.row, found=None, limit=limit, passed=None, note=faults[name])
    own = [schedule for schedule in rates if schedule.startswith(f"{name}: ")]
    best = max(own, key=lambda schedule: float(np.median(rates[schedule])))
    note = (
        f"{np.median(rates[OWN]):.0f} against {np.median(rates[best]):.0f} with"
        f" {best.partition(': ')[2]}; {same[best]:.1%} same decisions"
    )
    return ratio(rival.row, statistics.ratio(rates[OWN], rates[best], seed=seed), rival.least, note)


def rows(figures: dict[str, Any]) -> list[list[object]]:
    """Schedule, median texts a second, and the share of texts with the same decisions."""
    rates, same = figures["texts_per_s"], figures["same_decisions"]
    return [
        [name, round(float(np.median(found))), f"{same[name]:.1%}"] for name, found in rates.items()
    ]
