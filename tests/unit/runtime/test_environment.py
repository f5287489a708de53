"""Importing polyhead changes nothing around it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("telemetry", [None, "0"])
def test_an_import_leaves_the_environment_as_it_was(telemetry):
    script = "import os; before = dict(os.environ); import polyhead; assert before == os.environ"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    environment.pop("TOKENIZERS_PARALLELISM", None)
    if telemetry is not None:
        environment["ORT_DISABLE_TELEMETRY"] = telemetry
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted by Linux")
def test_an_import_starts_no_threads(bundle):
    script = (
        "import os, sys, numpy; count = lambda: len(os.listdir('/proc/self/task'))\n"
        "before = count()\n"
        "import polyhead\n"
        "polyhead.load(sys.argv[1], threads=1)('anna')\n"
        "sys.exit(count() - before)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", script, bundle], env=environment, check=True)
