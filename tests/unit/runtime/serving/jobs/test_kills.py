"""A job that is killed at any moment goes on: every row is there once, and whole."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest
from pyarrow import parquet

from polyhead.serving.jobs.state import STATE

KILLS = 6
SHARDS = 40
ROWS = [{"id": n, "text": None if n % 25 == 3 else f"parcel {n % 90} late"} for n in range(2_000)]


@pytest.fixture
def start(command, many_heads, write_rows, folder, tmp_path):
    """Starts the job in a process of its own."""
    words, environment = command
    path = write_rows(tmp_path / "in.jsonl", ROWS)
    given = [many_heads, path, "-o", folder.path, "--shard-rows", len(ROWS) // SHARDS, "--json"]

    def run(*more):
        return subprocess.Popen(
            [*words, "map", *map(str, given), "--processes", "2", *more],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return run


def whole(folder):
    """How many shards the state calls finished; all files that are there can be read."""
    for part in folder.parts():
        parquet.read_table(part)
    if not (folder.path / STATE).exists():
        return 0
    state = json.loads((folder.path / STATE).read_text())
    return sum(shard["done"] is not None for shard in state["shards"])


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("seed", [1, 2])
def test_kills_at_random_moments(start, folder, seed):
    chance = random.Random(seed)
    done = 0
    for kill in range(KILLS):
        process = start()
        if kill % 2:  # soon after something was finished, else anywhere
            while process.poll() is None and whole(folder) <= done:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.2))
        else:
            time.sleep(chance.uniform(0, 3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert whole(folder) >= done
        done = whole(folder)
    process = start()
    out, said = process.communicate()
    assert process.returncode == 0, said
    summary = json.loads(out)
    assert done <= summary["skipped"] <= done + 2  # what two processes were at
    assert summary["total"]["rows"] == len(ROWS)
    assert [number for _, number in folder.numbers()] == [*range(len(ROWS))]
    assert [row["input_row"] for row in folder.bad()] == [*range(3, len(ROWS), 25)]
    assert len(folder.parts()) == SHARDS
    assert not list(folder.path.glob(".*.writing"))


def test_no_process_outlives_the_killed_job(start, folder):
    process = start()
    while not whole(folder):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    # The next run may begin only when the processes of the killed one have ended; that one would
    # otherwise find its half-written files taken away. It waits for the lock, which they have not.
    count, end = len(folder.parts()), time.monotonic() + 30
    while time.monotonic() < end:
        time.sleep(0.5)
        if len(folder.parts()) == count and not list(folder.path.glob(".*.writing")):
            break
        count = len(folder.parts())
    assert count < SHARDS
