"""What a peer can be asked, measured inside its own process."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from polyhead.text.encoding import Input, flat
from polyhead_bench.harness import open_loop
from polyhead_bench.peers.base import Answers, Peer, all_ones

READY = ("marks", "rss", "disk", "schedules", "callers", "concurrent", "info")
"""Keys of the message with which a worker begins."""

ANSWERS: Mapping[str, tuple[str, ...]] = {
    "single": ("ms", "answers"),
    "offline": ("seconds", "answers"),
    "server": ("ms",),
    "profile": ("parts",),
    "graph": ("samples",),
    "load": ("latencies", "calls", "errors", "different", "seconds", "rss"),
    "memory": ("rss", "peak"),
}
"""Keys of the answer to a request, by its name: a method of `PeerService`."""

_REPEATS = 5
_GRAPH_SECONDS, _GRAPH_RUNS = 0.3, 3
_LONGEST_LIST = 32


class PeerService:
    """One peer behind the protocol."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._alone: dict[str, Answers] = {}

    def reply(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request, which names itself under ``do``."""
        ask: Callable[[Mapping[str, Any]], dict[str, Any]] = getattr(self, request["do"])
        return ask(request)

    def single(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One text at a time, the next when the last is answered."""
        times, answers = [], []
        for text in request["texts"]:
            start = time.perf_counter()
            answer = self._peer.answer(text)
            times.append((time.perf_counter() - start) * 1e3)
            if request.get("answers"):
                answers.append(answer)
        return {"ms": times, "answers": answers}

    def offline(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """All texts at once; a few before the clock runs, for what the schedule makes at first."""
        schedule = request.get("schedule", self._peer.schedules[0])
        self._peer.answer_all(request["texts"][:2], schedule)
        start = time.perf_counter()
        answers = self._peer.answer_all(request["texts"], schedule)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "answers": answers if request.get("answers") else []}

    def server(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Texts that arrive by a clock, whether or not the peer is done with those before."""
        texts, arrivals = request["texts"], request["arrivals"]
        callers = self._peer.callers
        return {"ms": open_loop.latencies(self._peer.answer, texts, arrivals, callers=callers)}

    def profile(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The parts of each answer; empty where a peer has no graph of its own."""
        return {"parts": [self._parts(text) for text in request["texts"]]}

    def graph(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Milliseconds of the graph alone on rows of equal length; none where there is no graph."""
        feeds = all_ones(np.array(request["ids"], np.int64))
        if self._peer.run_graph(feeds) is None:
            return {"samples": []}
        samples: list[float] = []
        end = time.perf_counter() + request.get("seconds", _GRAPH_SECONDS)
        while time.perf_counter() < end or len(samples) < _GRAPH_RUNS:
            samples.append(_ms(lambda: self._peer.run_graph(feeds)))
        return {"samples": samples}

    def load(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Several threads that ask at once, until ``seconds`` are over or for ``calls`` each.

        A share of the calls, ``lists``, takes a list of up to 32 texts. Every answer is compared
        with the one that the text had when it was first asked alone. At the start, and every
        ``reload`` seconds, the peer reads its model again.
        """
        expected = [self._first(text) for text in request["texts"]]
        start = time.perf_counter()
        end = start + request.get("seconds", float("inf"))

        def work(number: int) -> tuple[list[float], int, int, int]:
            return self._caller(request, number, expected, end)

        over = Event()
        with ThreadPoolExecutor(request["callers"] + 1) as pool:
            reloads = pool.submit(self._reload, request, over)
            try:
                found = list(pool.map(work, range(request["callers"])))
            finally:
                over.set()
        latencies, calls, errors, different = zip(*found, strict=True)
        return {
            "latencies": [ms for part in latencies for ms in part],
            "calls": sum(calls),
            "errors": sum(errors) + (reloads.exception() is not None),
            "different": sum(different),
            "seconds": time.perf_counter() - start,
            "rss": resident(),
        }

    def memory(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Bytes in memory now, and at most so far."""
        return {"rss": resident(), "peak": _peak()}

    def _parts(self, text: Input) -> dict[str, float]:
        """Milliseconds of two parts by themselves; decoding and scheduling are what is left.

        Each is the shortest of a few, taken in turns: the rest is what else the machine did.
        """
        feeds = self._peer.encode(text)
        if feeds is None:
            return {}
        steps: dict[str, Callable[[], object]] = {
            "whole": lambda: self._peer.answer(text),
            "tokenise": lambda: self._peer.encode(text),
            "run": lambda: self._peer.run_graph(feeds),
        }
        for step in steps.values():
            step()
        rounds = [{name: _ms(step) for name, step in steps.items()} for _ in range(_REPEATS)]
        best = {name: min(one[name] for one in rounds) for name in steps}
        rest = max(0.0, best["whole"] - best["tokenise"] - best["run"])
        tokens = float(feeds["input_ids"].shape[1])
        return {"tokenise": best["tokenise"], "run": best["run"], "decode": rest, "tokens": tokens}

    def _first(self, text: Input) -> Answers:
        key = flat(text)
        if key not in self._alone:
            self._alone[key] = self._peer.answer(text)
        return self._alone[key]

    def _caller(
        self, request: Mapping[str, Any], number: int, expected: list[Answers], end: float
    ) -> tuple[list[float], int, int, int]:
        """Latencies of lone texts, calls, errors and calls with another answer of one thread."""
        texts, random = request["texts"], np.random.default_rng(number)
        latencies: list[float] = []
        calls = errors = different = 0
        while calls < request.get("calls", float("inf")) and time.perf_counter() < end:
            calls += 1
            alone = random.random() >= request.get("lists", 0.0)
            size = 1 if alone else int(random.integers(2, _LONGEST_LIST + 1))
            places = random.integers(0, len(texts), size)
            start = time.perf_counter()
            try:
                found = self._asked([texts[place] for place in places])
            except Exception:
                errors += 1
                continue
            if alone:
                latencies.append((time.perf_counter() - start) * 1e3)
            different += found != [expected[place] for place in places]
        return latencies, calls, errors, different

    def _reload(self, request: Mapping[str, Any], over: Event) -> None:
        while "reload" in request:
            self._peer.reload()
            if over.wait(request["reload"]):
                return

    def _asked(self, texts: list[Input]) -> list[Answers]:
        if len(texts) == 1:
            return [self._peer.answer(texts[0])]
        return self._peer.answer_all(texts, self._peer.schedules[0])


def resident() -> int:
    """Bytes of this process in memory; the most so far where the kernel does not report it."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return _peak()


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _ms(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3
