"""Bundles whose digests fit, made by somebody who wants harm: no crash, no hang, typed errors."""

import subprocess
import sys
from pathlib import Path

from fuzz_budget import INPUTS, SEED

SCRIPT = Path(__file__).with_name("hostile_bundles.py")


def test_loading_fails_with_a_bundle_error_or_works(committed, tmp_path):
    count = INPUTS // 2
    first = SEED * 10**6
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    # A process of its own: a crash of native code would end this one.
    done = subprocess.run(
        [sys.executable, SCRIPT, committed, tmp_path / "bundle", str(first), str(first + count)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    lines = done.stdout.splitlines()
    last = f"after {lines[-1:]}: {done.stderr[-2000:]}"
    assert done.returncode == 0, last
    assert len(lines) == count, last
    assert "works" in done.stdout
    assert "GraphError" in done.stdout
