"""A figure against its limit, and where the figures are written."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

import polyhead
from polyhead import cpu, threads
from polyhead.cli import output
from polyhead_bench.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class Check:
    """One figure.

    Attributes:
        name: what was measured.
        found: the figure as shown; None when it could not be measured.
        limit: what it has to reach, as shown.
        passed: whether it does; None when it was not measured.
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


def table(checks: Sequence[Check]) -> str:
    """Figures, limits and pass or fail, for people."""
    shown = {True: "pass", False: "FAIL", None: "not measured"}
    rows = [[c.name, c.found or "-", c.limit, shown[c.passed], c.note] for c in checks]
    return output.table(["figure", "found", "limit", "", ""], rows)


def passed(checks: Sequence[Check]) -> bool:
    """Whether nothing failed; what was not measured does not count."""
    return all(check.passed is not False for check in checks)


def write(folder: Path, name: str, checks: Sequence[Check], figures: dict[str, Any]) -> Path:
    """Write ``<folder>/<name>.json``: the machine, the checks and all that was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    content = {
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
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
