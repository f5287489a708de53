"""How many threads an engine uses, and for what."""

from __future__ import annotations

import math
import os
from pathlib import Path

from polyhead.errors import InvalidSetting
from polyhead.system import cgroup as groups
from polyhead.system.schema import whole_number

INTRA_OP = 1
"""Threads of onnxruntime that share the work of one call, when the caller does not say.

Two for a single text, which wait for each other in a busy loop, help a process that has its cores
for itself and reads long texts, and hurt where workers share the cores. MiniLM int8, two cores of
an Intel Xeon with AMX, time of the graph with two over one: 1.0 to 1.1 at 16 tokens, 0.97 at 32,
0.87 at 64, 0.78 at 128, 0.66 at 256. Four worker processes, 30 tokens: p50 10.1 ms with two
threads each and 2.8 with one, 437 and 964 texts/s. (On a Xeon without AMX, alone: 0.87 at 16.)
"""
MOST_INTRA_OP = 4
"""Threads for a single-text request where the caller asks for several. More than two were not
measured."""


def budget(
    setting: int | None = None,
    *,
    cgroup: Path = Path("/sys/fs/cgroup"),
    own: Path = Path("/proc/self/cgroup"),
) -> int:
    """Number of threads to use, at least 1: affinity, cgroup quota and setting, the smallest.

    Args:
        setting: the caller's upper limit; None means as many as the machine allows.
        cgroup: root of the mounted cgroup file systems.
        own: the kernel's list of this process's groups.

    Raises:
        InvalidSetting: when `setting` is below 1.
    """
    limits = [_affinity(), groups.cpus(cgroup, own)]
    if setting is not None:
        if type(setting) is not int or setting < 1:
            raise InvalidSetting(
                f"threads={setting!r}: expected None or a whole number of at least 1."
            )
        limits.append(setting)
    return max(1, math.floor(min(limits)))


def for_one_text(threads: int) -> int:
    """How many threads of an engine compute a single-text request; 1 where there is no other."""
    return min(threads, MOST_INTRA_OP)


def workers(threads: int, intra_op: int) -> int:
    """How many calls of the back end may run at once, so that all of them use `threads`."""
    return max(1, threads // whole_number("intra_op_threads", intra_op))


def _affinity() -> float:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
