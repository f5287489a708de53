"""A job that is killed at any moment goes on: every row is there once, and whole."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyarrow import parquet

from polyhead.serving.jobs.state import STATE

KILLS = 4
SHARDS = 20
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


def finished(folder):
    """How many shards the state says are done."""
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
            while process.poll() is None and finished(folder) <= done:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.2))
        else:
            time.sleep(chance.uniform(0, 3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert finished(folder) >= done
        done = finished(folder)
        for part in folder.parts():
            parquet.read_table(part)  # what has its name is whole
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


def alive(pid):
    """Whether a process runs; a dead one may be in the table until somebody asks for it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc names the processes")
def test_no_process_outlives_the_killed_job(start, folder):
    process = start()
    while not finished(folder):
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.kill()
    process.communicate()
    end = time.monotonic() + 60
    while any(map(alive, children)):
        assert time.monotonic() < end
        time.sleep(0.05)
