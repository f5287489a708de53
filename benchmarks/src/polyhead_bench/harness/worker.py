"""One peer in a process of its own, driven over pipes by JSON lines.

Started as ``python -m polyhead_bench.harness.worker PEER FOLDER THREADS OPTIONS``, OPTIONS being
JSON. It says ``{"ready": …}`` once loaded and warm, then answers each request, see
`polyhead_bench.harness.requests`, until its standard input ends. What libraries print goes to
standard error: only messages are on the pipe.
"""

from __future__ import annotations

import time

_BEGUN = time.perf_counter()  # before anything heavy is imported: the start is measured, too

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, TextIO  # noqa: E402

from polyhead_bench import peers  # noqa: E402

_WARM_UP = ("Hello.", "The battery of my phone died in May, and nobody answers my messages. " * 3)


def main(name: str, folder: str, threads: str, options: str) -> None:
    """Serve until standard input ends."""
    out = _private_stdout()
    _hold(int(threads))
    settings = json.loads(options)
    peer = peers.load(name, Path(folder), int(threads), settings)
    loaded = time.perf_counter()
    warm = settings.get("warm_up", _WARM_UP)
    peer.answer(warm[0])
    answered = time.perf_counter()
    marks = {
        "loaded": (loaded - _BEGUN) * 1e3,
        "answered": (answered - _BEGUN) * 1e3,
        "process": (time.time() - settings["started"]) * 1e3,
    }
    # Imported after the first answer, whose time they are no part of.
    from polyhead_bench import machine
    from polyhead_bench.harness.requests import PeerService, resident

    for text in warm * 5:
        peer.answer(text)
    _say(
        out,
        {
            "ready": True,
            "marks": marks,
            "rss": resident(),
            "disk": _disk(Path(folder), settings.get("heads") or ()),
            "schedules": peer.schedules,
            "callers": peer.callers,
            "concurrent": peer.concurrent,
            "info": {**peer.info(), "cpus": machine.affinity(), "versions": machine.versions()},
        },
    )
    service = PeerService(peer)
    for line in sys.stdin:
        _say(out, service.reply(json.loads(line)))


def _disk(folder: Path, heads: Sequence[str]) -> int:
    """Bytes of the model; where each head has a folder, of those of the wanted heads."""
    own = [folder / head for head in heads if (folder / head).is_dir()]
    files = [file for part in own or [folder] for file in part.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _hold(threads: int) -> None:
    """Leaves this process as many CPUs as it may have threads, whatever its libraries think."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


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
