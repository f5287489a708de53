"""A list of texts at once: throughput, under each schedule that a peer knows."""

from __future__ import annotations

from typing import Any

import numpy as np

from polyhead_bench.agreement import agreement
from polyhead_bench.errors import PeerFault
from polyhead_bench.scenarios.context import Context


def measure(context: Context) -> dict[str, Any]:
    """By peer ``seconds``: for each schedule a list, a round each.

    A round to warm up comes first, whose answers are compared with the PyTorch model's: ``same`` is
    the share of equal ones by schedule, where that model was asked.
    """
    found = context.found
    for name in list(context.roster.workers):
        _warm(context, name)
    for names in context.rounds():
        for name in names:
            for schedule in _schedules(context, name):
                answer = context.roster.ask(
                    name, "offline", texts=context.texts.inputs, schedule=schedule
                )
                if answer is not None:
                    by_schedule = found.setdefault(name, {}).setdefault("seconds", {})
                    by_schedule.setdefault(schedule, []).append(answer["seconds"])
    return found


def _schedules(context: Context, name: str) -> list[str]:
    worker = context.roster.workers.get(name)
    return list(worker.ready["schedules"]) if worker else []


def _warm(context: Context, name: str) -> None:
    for schedule in _schedules(context, name):
        answer = context.roster.ask(
            name, "offline", texts=context.texts.inputs, schedule=schedule, answers=True
        )
        if answer is None or context.expected is None:
            continue
        try:
            shares = agreement(answer["answers"], context.expected)
        except PeerFault as fault:
            context.roster.drop(name, f"{schedule}: {fault}")
            return
        if shares:
            row = context.found.setdefault(name, {"seconds": {}})
            row.setdefault("same", {})[schedule] = float(np.mean(list(shares.values())))
