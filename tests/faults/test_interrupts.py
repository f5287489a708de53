"""Ctrl-C and SIGTERM at any moment of a real command, imports included: a message, no traceback."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOURCES = os.pathsep.join(path for path in sys.path if path.endswith("/src"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": SOURCES, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
MOMENTS = 6
DEMO = Path(__file__).parents[2] / "examples" / "support-desk" / "demo.toml"
# SIGTERM ends it at once, without a word, until the command line is there.
ANNOUNCED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from polyhead_command import main
sys.stderr.write("ready\\n")
sys.exit(main())
"""
COMMANDS = {  # and the seconds in which it is interrupted
    "train": (["train", DEMO, "-o", "checkpoint"], 4),
    "combine": (["combine", "{bundle}", "{bundle}", "-o", "both", "--prefix=", "--prefix=x"], 4),
    "import": (["import", "nothing", "-o", "imported"], 2),
}


def interrupted(words, number, wait, folder):
    with subprocess.Popen(
        [sys.executable, "-c", ANNOUNCED, *words],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr.readline() == "ready\n"
        time.sleep(wait)
        process.send_signal(number)
        return process.wait(), process.stderr.read()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_command_that_is_interrupted_says_so(command, number, real_bundle, tmp_path):
    words, seconds = COMMANDS[command]
    words = [str(word).format(bundle=real_bundle) for word in words]
    chance = random.Random(command + number.name)
    seen = []
    for _ in range(MOMENTS):
        code, said = interrupted(words, number, chance.uniform(0, seconds), tmp_path)
        # Python itself drops an interrupt in the callback of a weak reference, and says so.
        assert "Traceback" not in said or said.startswith("Exception ignored"), said
        seen.append(code)
        if code == 128 + number:  # its name is known when all is imported
            assert re.search(rf"polyhead( {command})?: interrupted \({number.name}\)\n\Z", said)
    assert set(seen) <= {128 + number, -number, 0, 1}
    assert 128 + number in seen
    assert [path.name for path in tmp_path.iterdir() if "writing" in path.name] == []
