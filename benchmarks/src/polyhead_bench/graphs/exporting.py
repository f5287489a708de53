"""A `polyhead` command in a process of its own, with its time and its memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from polyhead_bench.checks import Check, at_most
from polyhead_bench.errors import BenchError

_CODE = """
import resource, subprocess, sys
command = [sys.executable, '-m', 'polyhead', *sys.argv[1:]]
done = subprocess.run(command, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


ROWS = (("export with calibration and gate", "<= 90 s"), ("peak memory of the export", "<= 4 GiB"))
"""Names and limits of what `demo` measures."""


def measured(words: Sequence[object]) -> tuple[float, int]:
    """Seconds and peak bytes of ``polyhead WORDS``.

    Raises:
        BenchError: when it fails; says why, or else what it printed last.
    """
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        prefix = f"polyhead {words[0]}: "
        reason = next((line for line in said if line.startswith(prefix)), said[-1])
        raise BenchError(f"'polyhead {words[0]}' failed: {reason.removeprefix(prefix)}")
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, int(done.stdout) * unit


def demo(checkpoint: Path) -> tuple[list[Check], dict[str, float]]:
    """Export a checkpoint as a user does, against the limits of the demo; the bundle is gone."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, peak = measured(["export", checkpoint, "-o", Path(folder) / "bundle"])
    (time_row, _), (memory_row, _) = ROWS
    checks = [
        at_most(time_row, seconds, 90, "s"),
        at_most(memory_row, peak / 2**30, 4, "GiB"),
    ]
    return checks, {"seconds": seconds, "peak_bytes": peak}


def size(bundle: Path) -> Check:
    """All files of a bundle of MiniLM."""
    found = sum(file.stat().st_size for file in bundle.iterdir())
    return at_most("MiniLM bundle's size", found / 1e6, 24, "MB")
