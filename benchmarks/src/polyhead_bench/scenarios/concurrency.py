"""Many threads that call one engine, text by text: errors, and answers unlike a lone caller's."""

from __future__ import annotations

from typing import Any

from polyhead_bench.scenarios.context import Context


def measure(context: Context) -> dict[str, Any]:
    """By peer that may be called by several threads: ``calls`` in all, ``errors``, ``different``.

    ``different`` counts answers that are not, to the bit, the text's own when it was asked alone.
    ``seconds`` is how long all calls took.
    """
    for name, worker in list(context.roster.workers.items()):
        if not worker.ready["concurrent"]:
            continue
        answer = context.roster.ask(
            name,
            "load",
            texts=context.texts.inputs,
            callers=context.settings.callers,
            calls=context.settings.calls,
        )
        if answer is not None:
            keys = ("calls", "errors", "different", "seconds")
            context.row(name).update({key: answer[key] for key in keys})
    return context.found
