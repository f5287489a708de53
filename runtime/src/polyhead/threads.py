"""How many threads this process may use: affinity ∩ cgroup quota ∩ the caller's setting."""

from __future__ import annotations

import math
import os
from pathlib import Path

from polyhead.errors import InvalidSetting


def budget(setting: int | None = None, *, cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Number of threads to use, at least 1.

    Args:
        setting: the caller's upper limit; None means as many as the machine allows.
        cgroup: root of the mounted cgroup file system (v2, or v1 with a `cpu` controller).

    Raises:
        InvalidSetting: when `setting` is below 1.
    """
    if setting is not None and (type(setting) is not int or setting < 1):
        raise InvalidSetting(f"threads={setting!r}: expected None or a whole number of at least 1.")
    limits = [_affinity(), _quota(cgroup)]
    if setting is not None:
        limits.append(setting)
    return max(1, math.floor(min(limits)))


def _affinity() -> float:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(cgroup: Path) -> float:
    """CPUs that the cgroup's CFS quota allows; infinity without a quota or a readable file."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        if quota in ("max", "-1"):
            return math.inf
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
