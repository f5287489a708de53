"""How many threads an engine uses, and for what."""

from __future__ import annotations

import math
import os
from pathlib import Path

from polyhead.errors import InvalidSetting
from polyhead.system import cgroup as groups
from polyhead.system.schema import whole_number

# A session of onnxruntime has one number of threads. Two threads of onnxruntime 1.32 for one text,
# which wait in a busy loop for each other while it is computed, took 0.94, 0.87, 0.75, 0.69, 0.60
# and 0.57 times as long as one for 8, 16, 32, 64, 128 and 256 tokens (MiniLM int8, two cores of an
# Intel Xeon with AVX512-VNNI), and gave the same bits; threads that sleep took 1.17, 1.17, 1.06,
# 1.03, 0.81 and 0.67. With tokenising and decoding: 0.96, 0.91, 0.79, 0.73, 0.68 and 0.62. Of a
# list each text has one thread: 1,618 texts/s against 1,305 for one after the other with two each
# (mean 28 tokens, an AMD server).
INTRA_OP = 1
"""Threads of onnxruntime that share the work of one call, when the caller does not say."""
INTRA_OP_MIN_TOKENS = 16
"""Tokens from which on a single-text request is computed by several threads, when the caller does
not say and they are free. It takes a second session (32 MB for MiniLM), which the first such text
has opened in another thread (36 ms)."""
MOST_INTRA_OP = 4
"""Threads for it. More than two were not measured."""


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
