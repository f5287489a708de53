"""A figure against its limit, and where the figures are written."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

import polyhead
from polyhead.cli import output
from polyhead.errors import PolyheadError
from polyhead.inference import threads
from polyhead.system import atomic, cpu
from polyhead_bench import machine
from polyhead_bench.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class Check:
    """One figure.

    Attributes:
        name: what was measured.
        found: the figure as shown; None when it could not be measured.
        limit: what it has to reach, as shown; empty without a limit.
        passed: whether it does; None when it was not measured, or has no limit.
        note: more, such as the interval, or why it was not measured.
    """

    name: str
    found: str | None
    limit: str
    passed: bool | None
    note: str = ""


def ratio(name: str, found: Interval, least: float, note: str = "") -> Check:
    """A ratio of speeds with its bootstrap interval; its median has to reach `least`."""
    interval = f"95% interval {found.low:.2f} to {found.high:.2f}"
    return Check(
        name=name,
        found=f"{found.value:.2f}x",
        limit=f">= {least:g}x",
        passed=found.value >= least,
        note=f"{interval}; {note}" if note else interval,
    )


def at_most(name: str, found: float, most: float, unit: str, note: str = "") -> Check:
    """A figure that has to stay below a limit."""
    shown = f"{found:.2f} {unit}".strip()
    limit = f"<= {most:g} {unit}".strip()
    return Check(name=name, found=shown, limit=limit, passed=found <= most, note=note)


def unlimited(name: str, found: str, note: str = "") -> Check:
    """A figure that is shown, and need not reach anything."""
    note = f"{note}; no limit" if note else "no limit"
    return Check(name=name, found=found, limit="", passed=None, note=note)


def unmeasured(
    rows: Iterable[tuple[str, str]], reason: str, *, passed: bool | None = None
) -> list[Check]:
    """Rows without a figure.

    Args:
        rows: names and limits.
        reason: why there is none.
        passed: False where that is a failure.
    """
    return [Check(name=n, found=None, limit=m, passed=passed, note=reason) for n, m in rows]


def attempt(
    part: Callable[[], tuple[list[Check], dict[str, Any]]], rows: Iterable[tuple[str, str]]
) -> tuple[list[Check], dict[str, Any]]:
    """What a part of the measurements finds; when it cannot, failed rows that say why.

    Args:
        part: returns checks and figures.
        rows: names and limits of what it was to measure.
    """
    try:
        return part()
    except PolyheadError as problem:
        return unmeasured(rows, str(problem), passed=False), {"fault": str(problem)}


def table(checks: Sequence[Check]) -> str:
    """Figures, limits and pass or fail, for people."""
    rows = [[c.name, c.found or "-", c.limit, _state(c), c.note] for c in checks]
    return output.table(["figure", "found", "limit", "", ""], rows)


def _state(check: Check) -> str:
    if check.passed is None:
        return "not measured" if check.found is None else "shown"
    return "pass" if check.passed else "FAIL"


def passed(checks: Sequence[Check], *, allow_unmeasured: bool = False) -> bool:
    """Whether every figure with a limit was measured and reaches it.

    Args:
        checks: all rows.
        allow_unmeasured: whether rows that were not measured are left aside.
    """
    judged = (c.passed for c in checks if c.limit and not (allow_unmeasured and c.passed is None))
    return all(judged)


def write(
    folder: Path,
    name: str,
    checks: Sequence[Check],
    figures: dict[str, Any],
    *,
    complete: bool = True,
) -> Path:
    """Write ``<folder>/<name>.json``: the machine, the checks and all that was measured.

    Args:
        folder: made when missing.
        name: of the file.
        checks: all so far.
        figures: all so far.
        complete: False while more is to come.
    """
    path = folder / f"{name}.json"
    content = {
        "command": f"polyhead {shlex.join(sys.argv[1:])}",
        **machine.commit(),
        "complete": complete,
        "machine": {
            **asdict(cpu.describe()),
            "threads": threads.budget(),
            "python": platform.python_version(),
            "polyhead": polyhead.__version__,
            "onnxruntime": ort.__version__,
        },
        "checks": [asdict(check) for check in checks],
        "figures": figures,
    }
    atomic.write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path
