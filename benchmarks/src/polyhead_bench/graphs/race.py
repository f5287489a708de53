"""Graphs in turns: each in its own process, one thread, the order turned round after each round."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import numpy as np

from polyhead_bench.errors import PeerFault

_QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

Shape = tuple[int, int]
"""Texts in a batch, and tokens of each."""


def race(
    commands: Mapping[str, Sequence[str]], shapes: Sequence[Shape], *, rounds: int
) -> dict[str, dict[Shape, list[float]]]:
    """Milliseconds by graph and shape: the median of each round.

    Args:
        commands: by name, what starts the graph's process, see `polyhead_bench.graphs.timer`.
        shapes: at least one.
        rounds: of each graph.

    Raises:
        PeerFault: when a process ends or says something else.
    """
    found: dict[str, dict[Shape, list[float]]] = {n: {s: [] for s in shapes} for n in commands}
    with ExitStack() as stack:
        racers = {name: stack.enter_context(_Racer(name, c)) for name, c in commands.items()}
        for number in range(rounds):
            for shape in shapes:
                for name in list(racers) if number % 2 == 0 else list(racers)[::-1]:
                    found[name][shape].append(float(np.median(racers[name].time(shape))))
    return found


class _Racer:
    def __init__(self, name: str, command: Sequence[str]) -> None:
        self._name = name
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **_QUIET},
        )
        try:
            self._read()
        except PeerFault:
            self._close()
            raise

    def __enter__(self) -> _Racer:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def time(self, shape: Shape) -> list[float]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(shape) + "\n")
        self._process.stdin.flush()
        times: list[float] = self._read()
        return times

    def _read(self) -> list[float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerFault(f"{self._name}: its process ended with code {self._process.wait()}.")
        found: list[float] = json.loads(line)
        return found
