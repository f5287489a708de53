"""Requests that come by a clock, more than a server can answer: what is answered in time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from polyhead_bench.harness.http import Connection, connected
from polyhead_bench.harness.open_loop import arrivals

_CALLERS = 24
_SPARE = 200


@dataclass
class Overload:
    """What became of an open loop.

    Attributes:
        capacity: requests a second that `_CALLERS` get who ask again as soon as they are answered.
        seconds: of the open loop.
        answers: status of each, and seconds from when it was due.
        own: cores that the client itself took meanwhile.
    """

    capacity: float
    seconds: float
    answers: Sequence[tuple[int, float]]
    own: float

    def in_time(self, limit_s: float) -> float:
        """The share of the capacity that is answered within `limit_s`."""
        found = sum(status == 200 and took <= limit_s for status, took in self.answers)
        return found / self.seconds / self.capacity

    def share(self, status: int) -> float:
        """Of all requests, those with this status."""
        return sum(found == status for found, _ in self.answers) / len(self.answers)

    def times_s(self, status: int) -> list[float]:
        """Seconds to answers of this status."""
        return [took for found, took in self.answers if found == status]


def measure(
    port: int, bodies: Callable[[int], Sequence[bytes]], *, times: float, seconds: float
) -> Overload:
    """The capacity of a server, then an open loop at some times of it.

    The client keeps to one core, the last, which it shares with the server.

    Args:
        port: of the server, which has been asked before.
        bodies: makes so many requests, each another; called before the clock starts.
        times: of the capacity.
        seconds: of the open loop; half as many before it for the capacity.
    """
    with _one_core():
        return asyncio.run(_measure(port, bodies, times, seconds))


async def _measure(
    port: int, bodies: Callable[[int], Sequence[bytes]], times: float, seconds: float
) -> Overload:
    free = [await connected(port) for _ in range(_CALLERS + _SPARE)]
    capacity = await _capacity(free[:_CALLERS], iter(bodies(20_000)), seconds / 2)
    due = arrivals(int(times * capacity * seconds), rate=times * capacity, seed=1)
    waiting = iter(zip(due, bodies(len(due)), strict=True))
    answers: list[tuple[int, float]] = []
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    cpu, start = time.process_time(), time.perf_counter()

    def send(connection: Connection, body: bytes, at: float) -> None:
        def answered(status: int) -> None:
            answers.append((status, time.perf_counter() - start - at))
            free.append(connection)
            if len(answers) == len(due):
                ended.set()

        connection.ask(body, answered)

    async def send_anew(body: bytes, at: float) -> None:
        send(await connected(port), body, at)

    tasks: set[asyncio.Task[None]] = set()

    def next_ones(at: float, body: bytes) -> None:
        """Send what is due, and come again for the next."""
        while at <= time.perf_counter() - start:
            if free:
                send(free.pop(), body, at)
            else:
                tasks.add(asyncio.ensure_future(send_anew(body, at)))
            try:
                at, body = next(waiting)
            except StopIteration:
                return
        loop.call_later(max(0.0, start + at - time.perf_counter()), next_ones, at, body)

    next_ones(*next(waiting))
    await ended.wait()
    took = time.perf_counter() - start
    own = (time.process_time() - cpu) / took
    for connection in free:
        connection.close()
    await asyncio.sleep(0)
    return Overload(capacity, took, answers, own)


async def _capacity(
    callers: Sequence[Connection], bodies: Iterator[bytes], seconds: float
) -> float:
    """Answers a second to callers who ask again at once."""
    end, done, still = time.perf_counter() + seconds, 0, len(callers)
    ended = asyncio.Event()

    def again(caller: Connection) -> None:
        def answered(status: int) -> None:
            nonlocal done, still
            if time.perf_counter() < end:
                done += status == 200
                caller.ask(next(bodies), answered)
                return
            still -= 1
            if not still:
                ended.set()

        caller.ask(next(bodies), answered)

    for caller in callers:
        again(caller)
    await ended.wait()
    return done / seconds


@contextmanager
def _one_core() -> Iterator[None]:
    """This process on the last of its cores, where the system lets it choose."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
