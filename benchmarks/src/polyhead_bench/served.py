"""`polyhead serve` against its own engine in process: latency, rate, overload, start.

    python -m polyhead_bench.served build/demo/bundle

Prints a table with pass or fail; the exit code is 1 where something failed. The client is this
process, the server another one on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyhead.cli import output
from polyhead_bench.harness.open_loop import arrivals
from polyhead_bench.texts import SYNTHETIC, asked_of

_ADDED_MS, _SHARE, _IN_TIME, _START_MS = 0.7, 0.85, 0.8, 600.0
_DEADLINE_MS, _TIMES_CAPACITY, _CALLERS, _SECONDS = 500, 3.0, 24, 8.0
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


@dataclass
class _Client(asyncio.Protocol):
    """One connection, one request at a time; as little work as a client can do."""

    received: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._answer: asyncio.Future[int] | None = None

    def data_received(self, data: bytes) -> None:
        """Wait for all that the head announces."""
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found or self._answer is None:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) >= length:
            self.received, answer, self._answer = b"", self._answer, None
            answer.set_result(int(head[9:12]))

    async def ask(self, request: bytes) -> int:
        """The status of the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer


def main() -> int:
    """Measure, and say what passed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--texts", type=int, default=320)
    given = parser.parse_args()
    texts = [str(text) for text in asked_of(given.bundle, SYNTHETIC, limit=given.texts).inputs]
    added, shares = [], []
    for _ in range(_ROUNDS):  # interleaved, so that both meet the same machine
        alone, rate = _in_process(given, texts)
        with _server(given) as (port, _):
            served, served_rate = asyncio.run(_one_caller(port, texts))
        added.append(1e3 * (served - alone))
        shares.append(served_rate / rate)
    with _server(given) as (port, _):
        in_time, refused_ms = asyncio.run(_overload(port, texts))
    starts = []
    for _ in range(_STARTS):
        with _server(given) as (_, seconds):
            starts.append(1e3 * seconds)
    measured = (
        ("one text over HTTP, p50, added to in process, ms", added, "<=", _ADDED_MS),
        (f"texts/s in requests of {_BATCH}, share of engine.predict", shares, ">=", _SHARE),
        (f"answered in time at {_TIMES_CAPACITY:g}x capacity, share", [in_time], ">=", _IN_TIME),
        ("start to ready, ms", starts, "<=", _START_MS),
    )
    rows = []
    for what, values, sign, goal in measured:
        middle = float(np.median(values))
        passed = middle <= goal if sign == "<=" else middle >= goal
        shown = f"{middle:.2f} ({min(values):.2f} to {max(values):.2f})"
        rows.append((what, shown, f"{sign} {goal:g}", "pass" if passed else "fail"))
    rows.append(("a refusal, p50, ms", f"{refused_ms:.2f}", "", ""))
    output.write(output.table(["what", "measured", "goal", ""], rows))
    return 0 if all(row[-1] != "fail" for row in rows) else 1


def _in_process(given: argparse.Namespace, texts: Sequence[str]) -> tuple[float, float]:
    """Seconds of one text, median, and texts a second in lists."""
    words = [sys.executable, "-c", _IN_PROCESS, given.bundle, str(given.threads), str(_BATCH)]
    done = subprocess.run(
        words, input=json.dumps(texts), capture_output=True, encoding="utf-8", check=True
    )
    alone, rate = json.loads(done.stdout)
    return alone, rate


@contextmanager
def _server(given: argparse.Namespace) -> Iterator[tuple[int, float]]:
    """A served bundle: its port, and the seconds from its start until it was ready."""
    command = [sys.executable, "-m", "polyhead", "serve", str(given.bundle), "--port", "0"]
    command += ["--threads", str(given.threads), "--deadline-ms", str(_DEADLINE_MS)]
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


def _request(body: object) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST /v1/predict HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


async def _client(port: int) -> _Client:
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(_Client, "127.0.0.1", port))[1]


async def _one_caller(port: int, texts: Sequence[str]) -> tuple[float, float]:
    """As `_in_process`, over HTTP."""
    client, times = await _client(port), []
    for text in texts:
        request = _request({"text": text})
        begun = time.perf_counter()
        assert await client.ask(request) == 200
        times.append(time.perf_counter() - begun)
    lists = [_request({"texts": texts[i : i + _BATCH]}) for i in range(0, len(texts), _BATCH)]
    begun = time.perf_counter()
    for request in lists:
        assert await client.ask(request) == 200
    return float(np.median(times)), len(texts) / (time.perf_counter() - begun)


async def _overload(port: int, texts: Sequence[str]) -> tuple[float, float]:
    """The share of the capacity that is answered in time, and milliseconds of a refusal.

    The capacity is what `_CALLERS` get who ask again as soon as they are answered. Then requests
    come by a clock, whatever becomes of others, and are timed from when they were due. No two texts
    are the same: equal ones that wait together would be computed once.
    """
    numbers = itertools.count()

    def request() -> bytes:
        number = next(numbers)
        return _request({"text": f"{number} {texts[number % len(texts)]}"})

    free = [await _client(port) for _ in range(_CALLERS)]
    end, done = time.perf_counter() + _SECONDS / 2, 0

    async def again(client: _Client) -> None:
        nonlocal done
        while time.perf_counter() < end:
            status = await client.ask(request())  # others count meanwhile
            done += status == 200

    await asyncio.gather(*map(again, free))
    capacity = done / (_SECONDS / 2)
    rate = _TIMES_CAPACITY * capacity
    found: list[tuple[int, float]] = []

    async def one(due: float) -> None:
        client = free.pop() if free else await _client(port)
        status = await client.ask(request())
        found.append((status, time.perf_counter() - due))
        free.append(client)

    waiting, start = [], time.perf_counter()
    for at in arrivals(int(rate * _SECONDS), rate=rate, seed=1):
        if (early := start + at - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        waiting.append(asyncio.ensure_future(one(start + at)))
    await asyncio.gather(*waiting)
    seconds = time.perf_counter() - start
    in_time = sum(status == 200 and 1e3 * took <= _DEADLINE_MS for status, took in found)
    refused = [1e3 * took for status, took in found if status == 429]
    return in_time / seconds / capacity, float(np.median(refused)) if refused else float("nan")


if __name__ == "__main__":
    sys.exit(main())
