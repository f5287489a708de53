"""Graphs in turns: each in its own process, one thread, the order turned round after each round."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from polyhead_bench.errors import PeerFault
from polyhead_bench.graphs.answers import Reference

_QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
_SHOWN = 80

Shape = tuple[int, int]
"""Texts in a batch, and tokens of each."""


@dataclass(frozen=True)
class Race:
    """What came of it, by graph.

    Attributes:
        times: milliseconds by shape, the median of each round.
        errors: how far each output is off, see `polyhead_bench.graphs.answers`.
        faults: why a graph has no times.
    """

    times: dict[str, dict[Shape, list[float]]] = field(default_factory=dict)
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        ms = {
            name: {f"{batch}x{tokens}": list(ms) for (batch, tokens), ms in by_shape.items()}
            for name, by_shape in self.times.items()
        }
        return {"ms": ms, "errors": self.errors, "faults": self.faults}


def race(
    commands: Mapping[str, Sequence[str]],
    reference: Reference,
    shapes: Sequence[Shape],
    *,
    rounds: int,
) -> Race:
    """Compare every graph's answers with PyTorch's, then time those that agree.

    One that cannot start, answers otherwise or ends has a fault; the others go on.

    Args:
        commands: by name, what starts the graph's process, see `polyhead_bench.graphs.timer`.
        reference: what is asked first.
        shapes: at least one.
        rounds: of each graph.
    """
    found = Race()
    with ExitStack() as stack:
        racers: dict[str, _Racer] = {}
        for name, command in commands.items():
            try:
                racer = stack.enter_context(_Racer(command))
                found.errors[name] = reference.errors([racer.answer(row) for row in reference.rows])
            except PeerFault as fault:
                found.faults[name] = str(fault)
            else:
                racers[name] = racer
                found.times[name] = {shape: [] for shape in shapes}
        for number in range(rounds):
            for shape in shapes:
                for name in list(racers) if number % 2 == 0 else list(racers)[::-1]:
                    try:
                        found.times[name][shape].append(racers[name].time(shape))
                    except PeerFault as fault:
                        found.faults[name] = str(fault)
                        del racers[name], found.times[name]
    return found


class _Racer:
    """A graph's process; a context manager that ends it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                env={**os.environ, **_QUIET},
                start_new_session=True,  # Ctrl-C is for the measuring side, which ends the others
            )
        except OSError as problem:
            self._said.close()
            raise PeerFault(f"{command[0]}: cannot be started: {problem}") from None
        try:
            self._read()
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> _Racer:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def answer(self, row: Sequence[int]) -> dict[str, Any]:
        """All outputs for one text, as nested lists."""
        answer = self._ask({"ids": [list(row)]})
        if not isinstance(answer, dict):
            raise PeerFault(f"its process said {str(answer)[:_SHOWN]!r}, expected its outputs.")
        return answer

    def time(self, shape: Shape) -> float:
        """The median in milliseconds."""
        return float(np.median(self._ask(shape)))

    def _ask(self, request: object) -> Any:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # reading tells how it ended
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._said.seek(0)
            said = self._said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise PeerFault(
                f"its process ended with code {code}: {' '.join(said) or 'it said nothing'}"
            )
        try:
            return json.loads(line)
        except ValueError:
            raise PeerFault(f"its process said {line[:_SHOWN]!r}, expected JSON.") from None

    def _close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # what a dead process did not read is of no use
                if pipe is not None:
                    pipe.close()
        self._said.close()
