"""What was measured on: CPU, system, versions, commit."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from polyhead.inference import threads
from polyhead.system import cgroup, cpu
from polyhead.system.schema import plain

_LIBRARIES = (
    *("polyhead", "numpy", "onnxruntime", "tokenizers", "torch", "transformers"),
    *("optimum", "optimum-onnx", "openvino", "nncf", "sentence-transformers"),
)


def describe() -> dict[str, Any]:
    """CPU, threads, system, versions and the checkout's commit, as plain data.

    ``quota`` is the control group's in CPUs, None without one; ``affinity`` numbers the CPUs.
    """
    return {
        "cpu": plain(cpu.describe()),
        "cores": os.cpu_count(),
        "budget": threads.budget(),
        "affinity": affinity(),
        "quota": quota if math.isfinite(quota := cgroup.cpus()) else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        **commit(),
    }


def affinity() -> list[int] | None:
    """The CPUs that this process may use; None where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def versions() -> dict[str, str]:
    """The libraries of this environment that peers are made of."""
    return {name: found for name in _LIBRARIES if (found := _version(name)) is not None}


def commit() -> dict[str, Any]:
    """The checkout's commit (None outside one), and whether its files differ from it."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*words: str) -> str | None:
    """None outside a checkout, or where there is no git."""
    command: Sequence[str] = ("git", "-C", str(Path(__file__).parent), *words)
    try:
        found = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
        return found.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
