"""Rows of a benchmark's table: what was measured, its goal, and whether it was reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Row = tuple[str, str, str, str]
"""What it is, what was measured, the goal, and ``"pass"`` or ``"fail"``; empty for no goal."""


def row(what: str, values: Sequence[float], sign: str, goal: float) -> Row:
    """Median and range, and whether the median reaches its goal."""
    middle = float(np.median(values))
    passed = middle <= goal if sign == "<=" else middle >= goal
    shown = f"{middle:.2f} ({min(values):.2f} to {max(values):.2f})"
    return what, shown, f"{sign} {goal:g}", "pass" if passed else "fail"
