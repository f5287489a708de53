"""One figure in a process of its own: nothing that ran before can help it or harm it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polyhead_bench.errors import BenchError

Note = Callable[[str], None]


def measure(figure: str, bundle: Path, **settings: Any) -> dict[str, Any]:
    """Run ``polyhead_bench.figures.FIGURES[figure](bundle, **settings)`` in a fresh process.

    Returns:
        What it returned, as plain data, and ``whole_ms``: milliseconds from the start of the
        process to its result.

    Raises:
        BenchError: when the process fails; says what it printed last.
    """
    command = [sys.executable, "-m", "polyhead_bench.figures", figure, str(bundle)]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, json.dumps(settings)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
    )
    whole = (time.perf_counter() - start) * 1e3
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise BenchError(
            f"measuring {figure!r} ended with code {done.returncode}:"
            f" {' '.join(last) or 'it said nothing'}"
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "whole_ms": whole}
