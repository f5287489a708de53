"""Bundles of somebody who wants harm: an answer or a typed error, soon and in little memory."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from fuzz_budget import INPUTS, SEED

SCRIPT = Path(__file__).with_name("hostile_bundles.py")
MOST_CPU_S, MOST_MIB = 2, 1024


@pytest.fixture
def tried(committed, tmp_path, terminal):
    """Makes bundles of a kind, each of a seed of its own, and tells what loading them came to."""

    def run(kind, count):
        # A process of its own forks for each: this one has threads.
        first = SEED * 10**6
        words = [kind, committed, tmp_path / "bundle", str(first), str(first + count)]
        environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, SCRIPT, *words],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == 0, done.stderr[-2000:]
        assert len(rows) == count
        beyond = [row for row in rows if is_beyond(row)]
        terminal.write(
            f"\n{count} {kind}: {len(beyond)} beyond {MOST_CPU_S} s or {MOST_MIB} MiB or ended by a"
            f" signal; most {max(row['seconds'] for row in rows)} s,"
            f" {max(row['mib'] for row in rows)} MiB; {told(rows)}\n"
        )
        return rows

    return run


def is_beyond(row):
    crashed = row["outcome"].startswith("CRASH")
    return crashed or row["seconds"] > MOST_CPU_S or row["mib"] > MOST_MIB


def told(rows):
    return ", ".join(f"{n} {what[:40]}" for what, n in Counter(r["outcome"] for r in rows).items())


def untyped(rows):
    return [row for row in rows if row["outcome"].startswith("UNTYPED")]


def test_damaged_files_and_folders(tried):
    rows = tried("mutations", max(20, INPUTS // 10))
    assert [row for row in rows if is_beyond(row)] == []
    assert untyped(rows) == []
    assert {"works", "GraphError", "DigestMismatch"} <= {row["outcome"] for row in rows}


def test_hostile_tokenizers_and_graphs(tried):
    rows = tried("refused", max(10, INPUTS // 100))
    assert [row for row in rows if is_beyond(row)] == []
    assert untyped(rows) == []


def test_what_only_limits_of_a_process_bound(tried):
    """They are for `polyhead verify --isolated`; its limits, which are here too, suffice."""
    rows = tried("bounded", max(1, INPUTS // 1000))
    assert untyped(rows) == []
    assert {row["outcome"] for row in rows if row["outcome"].startswith("CRASH")} <= {
        "CRASH SIGKILL"
    }
