"""`polyhead map` over generated rows: its rate, its memory, and what kills do to it.

    python -m polyhead_bench.map_job build/demo/bundle --rows 1000000

Prints a table with pass or fail; the exit code is 1 where something failed. Needs Linux, whose
/proc says how much memory the processes of a job have.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from polyhead import load
from polyhead.cli import output
from polyhead.serving.jobs.storage import OutputFolder

_LEAST_RATE, _MOST_MEMORY, _KILLS = 0.9, 1.2, 10
_TOKENS = 28.0
_SAMPLE = 4_000  # texts of one call of `engine.predict`
_BATCH = 10_000  # rows that are generated at once

_PREDICT = """
import json, sys, time
import polyhead
path, threads = sys.argv[1:]
texts = json.load(sys.stdin)
with polyhead.load(path, threads=int(threads)) as engine:
    engine.warmup()
    begun = time.perf_counter()
    engine.predict(texts)
    print(len(texts) / (time.perf_counter() - begun))
"""


def main() -> int:
    """Measure, and say what passed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--shard-rows", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=_KILLS)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sample, tokens = _generate(given.bundle, folder / "in.parquet", given.rows, given.seed)
        before = _rate_of_predict(given, sample)
        rate, memory, seconds = _run_alone(given, folder)
        after = _rate_of_predict(given, sample)
        found = _run_with_kills(given, folder, seconds)
    share = rate / ((before + after) / 2)
    rows = [
        ("rows", f"{given.rows:,}, mean {tokens:.1f} tokens", "", ""),
        ("engine.predict, before and after, rows/s", f"{before:.0f}, {after:.0f}", "", ""),
        ("polyhead map, rows/s", f"{rate:.0f}", "", ""),
        ("its share", f"{share:.2f}", f">= {_LEAST_RATE}", _verdict(share >= _LEAST_RATE)),
        (
            "most memory / first",
            f"{memory:.2f}",
            f"<= {_MOST_MEMORY}",
            _verdict(memory <= _MOST_MEMORY),
        ),
        (f"rows once after {given.kills} kills", *found),
    ]
    output.write(output.table(["what", "measured", "goal", ""], rows))
    return 0 if all(row[-1] != "fail" for row in rows) else 1


def _verdict(passed: bool) -> str:
    return "pass" if passed else "fail"


def _generate(bundle: Path, target: Path, rows: int, seed: int) -> tuple[list[str], float]:
    """Write rows of words of the bundle's vocabulary, no two the same; a sample, and its length."""
    chance = np.random.default_rng(seed)
    with load(bundle, threads=1) as engine:
        pieces = engine.tokenizer.vocabulary
        words = np.array(sorted(w for w in pieces if w.isalpha() and w.isascii() and len(w) > 2))
        sample = list(_texts(words, chance, 0, min(rows, _SAMPLE)))
        tokens = float(np.mean([len(each.ids) for each in engine.encode(sample)]))
    chance = np.random.default_rng(seed)
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    with parquet.ParquetWriter(target, schema) as writer:
        for first in range(0, rows, _BATCH):
            ids = range(first, min(first + _BATCH, rows))
            texts = list(_texts(words, chance, first, len(ids)))
            writer.write_table(pa.table({"id": ids, "text": texts}, schema=schema))
    return sample, tokens


def _texts(
    words: np.ndarray[tuple[int], np.dtype[np.str_]],
    chance: np.random.Generator,
    first: int,
    count: int,
) -> Iterator[str]:
    """Words behind a number, most texts short: 28 tokens on average with the demo's tokenizer."""
    for number, length in enumerate(chance.gamma(2.0, (_TOKENS - 7) / 2, count), start=first):
        some = chance.choice(words, 4 + min(int(length), 93))
        yield f"{number} {' '.join(some)}"


def _rate_of_predict(given: argparse.Namespace, texts: Sequence[str]) -> float:
    """Texts a second of one engine with as many threads as the job has processes."""
    done = subprocess.run(
        [sys.executable, "-c", _PREDICT, given.bundle, str(given.processes)],
        input=json.dumps(texts),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return float(done.stdout)


def _start(given: argparse.Namespace, folder: Path, target: str) -> subprocess.Popen[str]:
    words = ["map", given.bundle, folder / "in.parquet", "-o", folder / target, "--json", "--quiet"]
    options = ["--processes", given.processes, "--shard-rows", given.shard_rows]
    command = [sys.executable, "-m", "polyhead", *map(str, [*words, *options])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8")


def _run_alone(given: argparse.Namespace, folder: Path) -> tuple[float, float, float]:
    """Rows a second, the most memory by that at the first finished shard, and seconds."""
    process = _start(given, folder, "alone")
    first = most = 0
    while process.poll() is None:
        now = _resident(process.pid)
        if first:
            most = max(most, now)
        elif any((folder / "alone").glob("part-*")):
            first = most = now
        time.sleep(0.2)
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(process.returncode)
    summary = json.loads(out)
    return summary["rows_per_second"], most / max(first, 1), summary["seconds"]


def _resident(pid: int) -> int:
    """Pages in memory of a process and of those that it started."""
    try:
        own = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:  # it ended
        return 0
    return own + sum(_resident(int(child)) for child in children)


def _run_with_kills(
    given: argparse.Namespace, folder: Path, seconds: float
) -> tuple[str, str, str]:
    """The same job, killed at random moments of its whole length, until it is done."""
    chance, killed = random.Random(given.seed), 0
    for _ in range(given.kills):
        process = _start(given, folder, "killed")
        try:
            process.wait(chance.uniform(0, 2 * seconds / max(given.kills, 1)))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate()
    out, _ = (last := _start(given, folder, "killed")).communicate()
    numbers = np.zeros(given.rows, np.int64)
    target = folder / "killed"
    for part in target.glob("part-*.parquet"):
        column = parquet.read_table(part, columns=["input_row"])["input_row"].to_numpy()
        np.add.at(numbers, column, 1)
    for side in target.glob("_bad-*.jsonl"):
        for line in side.read_text(encoding="utf-8").splitlines():
            numbers[json.loads(line)["input_row"]] += 1
    once = int((numbers == 1).sum())
    whole = last.returncode == 0 and json.loads(out)["total"]["rows"] == given.rows
    left = [name for name in OutputFolder(str(target)).names() if name.endswith(".writing")]
    passed = whole and once == given.rows and not left
    return f"{once:,} ({killed} killed)", f"{given.rows:,}", _verdict(passed)


if __name__ == "__main__":
    sys.exit(main())
