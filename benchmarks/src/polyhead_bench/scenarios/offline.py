"""A list of texts at once: throughput, under each schedule that a peer knows."""

from __future__ import annotations

from typing import Any

from polyhead_bench.scenarios.context import Context


def measure(context: Context) -> dict[str, Any]:
    """By peer ``seconds``: for each schedule a list, a round each."""
    found = context.found
    for _, names in context.roster.rounds(context.rounds):
        for name in names:
            worker = context.roster.workers.get(name)
            for schedule in worker.ready["schedules"] if worker else ():
                answer = context.roster.ask(
                    name, "offline", texts=context.texts.inputs, schedule=schedule
                )
                if answer is not None:
                    by_schedule = found.setdefault(name, {"seconds": {}})["seconds"]
                    by_schedule.setdefault(schedule, []).append(answer["seconds"])
    return found
