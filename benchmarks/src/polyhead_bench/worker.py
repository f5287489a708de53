"""One peer in a process of its own, driven over pipes by JSON lines.

Started as ``python -m polyhead_bench.worker PEER FOLDER THREADS OPTIONS``, OPTIONS being JSON. It
says ``{"ready": …}`` once loaded and warm, then answers each request, see `REQUESTS`, until its
standard input ends. What libraries print goes to standard error: only messages are on the pipe.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from polyhead_bench import machine, open_loop, peers
from polyhead_bench.peers.base import Peer

_WARM_UP = ("Hello.", "The battery of my phone died in May, and nobody answers my messages. " * 3)


def main(name: str, folder: str, threads: str, options: str) -> None:
    """Serve until standard input ends."""
    out = _private_stdout()
    _hold(int(threads))
    settings = json.loads(options)
    peer = peers.load(name, Path(folder), int(threads), settings)
    warm = settings.get("warm_up", _WARM_UP)
    peer.answer(warm[0])
    first_ms = (time.time() - settings["started"]) * 1e3
    for text in warm * 5:
        peer.answer(text)
    _say(
        out,
        {
            "ready": True,
            "first_ms": first_ms,
            "rss": resident(),
            "disk": sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()),
            "schedules": peer.schedules,
            "callers": peer.callers,
            "info": {**peer.info(), "cpus": machine.affinity(), "versions": machine.versions()},
        },
    )
    for line in sys.stdin:
        request = json.loads(line)
        _say(out, REQUESTS[request["do"]](peer, request))


def _single(peer: Peer, request: Mapping[str, Any]) -> dict[str, Any]:
    """One text at a time, the next when the last is answered."""
    times, answers = [], []
    for text in request["texts"]:
        start = time.perf_counter()
        answer = peer.answer(text)
        times.append((time.perf_counter() - start) * 1e3)
        if request.get("answers"):
            answers.append(answer)
    return {"ms": times, "answers": answers}


def _offline(peer: Peer, request: Mapping[str, Any]) -> dict[str, Any]:
    """All texts at once; a few before the clock runs, for what the schedule makes at its first."""
    peer.answer_all(request["texts"][:2], request["schedule"])
    start = time.perf_counter()
    answers = peer.answer_all(request["texts"], request["schedule"])
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "answers": answers if request.get("answers") else []}


def _server(peer: Peer, request: Mapping[str, Any]) -> dict[str, Any]:
    """Texts that arrive by a clock, whether or not the peer is done with those before."""
    return {
        "ms": open_loop.latencies(
            peer.answer, request["texts"], request["arrivals"], callers=peer.callers
        )
    }


def _profile(peer: Peer, request: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of each answer."""
    return {"parts": [dict(peer.profile(text)) for text in request["texts"]]}


def _memory(peer: Peer, request: Mapping[str, Any]) -> dict[str, Any]:
    """Bytes in memory now, and at most so far."""
    return {"rss": resident(), "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


REQUESTS: dict[str, Callable[[Peer, Mapping[str, Any]], dict[str, Any]]] = {
    "single": _single,
    "offline": _offline,
    "server": _server,
    "profile": _profile,
    "memory": _memory,
}
"""By the request's `do`: what it does with its other keys, and the answer's keys."""


def _hold(threads: int) -> None:
    """Leaves this process as many CPUs as it may have threads, whatever its libraries think."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def resident() -> int:
    """Bytes of this process in memory; the most so far where the kernel tells no more."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _private_stdout() -> TextIO:
    """The pipe to the measuring side; what else is printed goes to standard error."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def _say(out: TextIO, message: dict[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
