"""`polyhead serve` against its own engine in process, and against infinity.

    python -m polyhead_bench.served build/demo/bundle --checkpoint build/demo/checkpoint

Prints a table with pass or fail; the exit code is 1 where something failed. The client is this
process, the server another one on the same cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from polyhead.cli import output
from polyhead_bench import infinity, overload
from polyhead_bench.convert.cache import Models
from polyhead_bench.errors import PeerFault
from polyhead_bench.goals import Row, row
from polyhead_bench.harness.http import Caller, request
from polyhead_bench.texts import SYNTHETIC, asked_of

_ADDED_MS, _SHARE, _IN_TIME, _START_MS, _TIMES_PEER = 0.7, 0.85, 0.8, 600.0, 3.0
_DEADLINE_MS, _TIMES_CAPACITY, _SECONDS = 500, 3.0, 8.0
_PATH = "/v1/predict"
_ROUNDS, _STARTS, _BATCH = 5, 7, 32

_IN_PROCESS = """
import json, statistics, sys, time
import polyhead
path, threads, batch = sys.argv[1:]
texts = json.load(sys.stdin)
with polyhead.load(path, threads=int(threads)) as engine:
    engine.warmup()
    clock = time.perf_counter
    alone = []
    for text in texts:
        begun = clock()
        engine(text)
        alone.append(clock() - begun)
    begun = clock()
    for first in range(0, len(texts), int(batch)):
        engine.predict(texts[first : first + int(batch)])
    print(json.dumps([statistics.median(alone), len(texts) / (clock() - begun)]))
"""


def main() -> int:
    """Measure, and say what passed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="behind the bundle, for the peer")
    parser.add_argument("--environments", type=Path, default=Path("build/peers"))
    parser.add_argument("--cache", type=Path, default=Path("build/bench"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--texts", type=int, default=320)
    given = parser.parse_args()
    texts = [str(text) for text in asked_of(given.bundle, SYNTHETIC, limit=given.texts).inputs]
    rows = [*_one_by_one(given, texts), *_overloaded(given, texts)]
    starts = []
    for _ in range(_STARTS):
        with _server(given) as (_, seconds):
            starts.append(1e3 * seconds)
    rows.append(row("start to ready, ms", starts, "<=", _START_MS))
    rows += _against_peer(given, texts)
    output.write(output.table(["what", "measured", "goal", ""], rows))
    return 0 if all(row[-1] != "fail" for row in rows) else 1


def _one_by_one(given: argparse.Namespace, texts: Sequence[str]) -> list[Row]:
    """Over HTTP against in process, interleaved, so that both meet the same machine."""
    added, shares = [], []
    for _ in range(_ROUNDS):
        alone, rate = _in_process(given, texts)
        with _server(given) as (port, _):
            served, served_rate = _one_caller(port, texts)
        added.append(1e3 * (served - alone))
        shares.append(served_rate / rate)
    what = f"texts/s in requests of {_BATCH}, share of engine.predict"
    return [
        row("one text over HTTP, p50, added to in process, ms", added, "<=", _ADDED_MS),
        row(what, shares, ">=", _SHARE),
    ]


def _overloaded(given: argparse.Namespace, texts: Sequence[str]) -> list[Row]:
    """Far more than it can answer; no two texts are the same, as equal ones are computed once."""
    numbers = itertools.count()

    def bodies(count: int) -> list[bytes]:
        some = itertools.islice(numbers, count)
        return [request(_PATH, {"text": f"{n} {texts[n % len(texts)]}"}) for n in some]

    with _server(given) as (port, _):
        _one_caller(port, texts[:_BATCH])
        asked = overload.measure(port, bodies, times=_TIMES_CAPACITY, seconds=_SECONDS)
    in_time = asked.in_time(_DEADLINE_MS / 1e3)
    refused = 1e3 * float(np.median(asked.times_s(429) or [np.nan]))
    statuses = ", ".join(f"{status}: {asked.share(status):.2f}" for status in (200, 429, 504))
    return [
        row(f"answered in time at {_TIMES_CAPACITY:g}x capacity, share", [in_time], ">=", _IN_TIME),
        ("a refusal, p50, ms", f"{refused:.2f}", "", ""),
        ("statuses then, shares", statuses, "", ""),
        ("cores that the client takes of the server's, then", f"{asked.own:.2f}", "", ""),
    ]


def _against_peer(given: argparse.Namespace, texts: Sequence[str]) -> list[Row]:
    """Embeddings, in requests of 32 from four callers; left out where the peer is not installed."""
    what = "embeddings/s over infinity's"
    models = Models(
        bundle=given.bundle,
        checkpoint=given.checkpoint,
        cache=given.cache,
        environments=given.environments,
    )
    name = given.bundle.resolve().name
    try:
        with infinity.server(models, given.threads) as theirs, _server(given, 60_000) as (port, _):
            found = infinity.compared((port, name), theirs, texts, rounds=_ROUNDS)
    except PeerFault as fault:
        return [(what, f"left out: {fault}", f">= {_TIMES_PEER:g}", "")]
    ours, other = found.rates
    return [
        row(what, found.ratios, ">=", _TIMES_PEER),
        (
            "embeddings/s, ours and infinity's; least cosine",
            f"{ours:.0f}, {other:.0f}; {found.cosine:.4f}",
            "",
            "",
        ),
    ]


def _in_process(given: argparse.Namespace, texts: Sequence[str]) -> tuple[float, float]:
    """Seconds of one text, median, and texts a second in lists."""
    words = [sys.executable, "-c", _IN_PROCESS, given.bundle, str(given.threads), str(_BATCH)]
    done = subprocess.run(
        words, input=json.dumps(texts), capture_output=True, encoding="utf-8", check=True
    )
    alone, rate = json.loads(done.stdout)
    return alone, rate


@contextmanager
def _server(
    given: argparse.Namespace, deadline_ms: float = _DEADLINE_MS
) -> Iterator[tuple[int, float]]:
    """A served bundle: its port, and the seconds from its start until it was ready."""
    command = [sys.executable, "-m", "polyhead", "serve", str(given.bundle), "--port", "0"]
    command += ["--threads", str(given.threads), "--deadline-ms", str(deadline_ms)]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8")
    assert process.stderr is not None
    try:
        told = process.stderr.readline()  # it says where it is as soon as it answers
        seconds = time.perf_counter() - begun
        yield int(told.partition("http://")[2].partition(",")[0].rpartition(":")[2]), seconds
    finally:
        process.terminate()
        process.communicate()


def _one_caller(port: int, texts: Sequence[str]) -> tuple[float, float]:
    """As `_in_process`, over HTTP."""
    caller, times = Caller(port), []
    try:
        for text in texts:
            sent = request(_PATH, {"text": text})
            begun = time.perf_counter()
            status, _ = caller.ask(sent)
            times.append(time.perf_counter() - begun)
            assert status == 200
        firsts = range(0, len(texts), _BATCH)
        lists = [request(_PATH, {"texts": texts[i : i + _BATCH]}) for i in firsts]
        begun = time.perf_counter()
        for sent in lists:
            assert caller.ask(sent)[0] == 200
        return float(np.median(times)), len(texts) / (time.perf_counter() - begun)
    finally:
        caller.close()


if __name__ == "__main__":
    sys.exit(main())
