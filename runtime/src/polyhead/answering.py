"""From encoded inputs to logits and results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from polyhead.heads.base import Result
from polyhead.inference.scheduler import Request, Scheduler
from polyhead.inference.session import Backend
from polyhead.model import Model
from polyhead.request import Options, Wanted
from polyhead.text.encoding import Encoding

Logits = dict[str, list[NDArray[np.float32]]]
"""By head, an array an input."""
OfInput = Mapping[str, NDArray[np.float32]]
"""The logits of one input by head, in the order of the wanted heads; of those that read it."""
Take = Callable[[int, int, OfInput], None]
"""Told the number of a model, the index of an input among its encodings, and the logits."""

NOTHING = np.empty(0, np.float32)


@dataclass(frozen=True)
class Work:
    """Inputs for one model, and the heads that shall answer."""

    model: Model
    encodings: Sequence[Encoding]
    wanted: Wanted


def compute(works: Sequence[Work], scheduler: Scheduler, take: Take) -> None:
    """Compute all models at once, as far as threads allow.

    Models with one back end that read the same encodings share a run, with the outputs of both.

    Args:
        works: for each model its inputs.
        scheduler: computes.
        take: called once for every input of every model, as soon as its logits are there, in the
            thread that computed them: decoding one text goes on while others are computed. What it
            raises ends the call.
    """
    runs: dict[tuple[int, ...], _Run] = {}
    for number, work in enumerate(works):
        for kind, names in work.wanted.items():
            rows = [i for i, encoding in enumerate(work.encodings) if encoding.kind == kind]
            if not names:
                for row in rows:
                    take(number, row, {})
            elif rows:
                inputs = [work.encodings[i] for i in rows]
                key = (id(work.model.backend), *map(id, inputs))
                if key not in runs:
                    runs[key] = _Run(work.model.backend, inputs)
                runs[key].read_by(work.model, names, number, rows, take)
    scheduler.run([run.request() for run in runs.values()])


class _Run:
    """One pass over inputs, and the models that read its logits."""

    def __init__(self, backend: Backend, inputs: Sequence[Encoding]) -> None:
        self._backend, self._inputs = backend, inputs
        self._outputs: list[str] = []
        self._readers: list[Callable[[int, Sequence[NDArray[np.float32]]], None]] = []
        self._owners = [(i, k) for i, e in enumerate(inputs) for k in range(len(e.starts))]
        self._parts: dict[int, list[Sequence[NDArray[np.float32]]]] = {}
        self._missing: dict[int, int] = {}
        self._lock = Lock()

    def read_by(
        self, model: Model, names: Sequence[str], number: int, rows: Sequence[int], take: Take
    ) -> None:
        """Let heads of a model read the logits; `rows` are the inputs' indices there."""
        wanted = [model.specs[name].output for name in names]
        self._outputs += [output for output in wanted if output not in self._outputs]
        columns = [self._outputs.index(output) for output in wanted]

        def read(index: int, logits: Sequence[NDArray[np.float32]]) -> None:
            of_heads = (logits[column] for column in columns)
            take(number, rows[index], dict(zip(names, of_heads, strict=True)))

        self._readers.append(read)

    def request(self) -> Request:
        """All windows of all inputs."""
        windows = [(encoding, window) for encoding in self._inputs for window in encoding.windows]
        return Request(self._backend, self._outputs, windows, self._take)

    def _take(self, window: int, logits: Sequence[NDArray[np.float32]]) -> None:
        index, part = self._owners[window]
        count = len(self._inputs[index].starts)
        if count > 1:
            with self._lock:
                parts = self._parts.setdefault(index, [[]] * count)
                parts[part] = logits
                self._missing[index] = self._missing.get(index, count) - 1
                if self._missing[index]:
                    return
            del self._parts[index]
            logits = [_joined(arrays) for arrays in zip(*parts, strict=True)]
        for read in self._readers:
            read(index, logits)


def logits_of(works: Sequence[Work], scheduler: Scheduler) -> list[Logits]:
    """By model, head and input; empty, `(0,)`, where a head does not read the input's kind."""
    found: list[Logits] = [
        {name: [NOTHING] * len(work.encodings) for names in work.wanted.values() for name in names}
        for work in works
    ]

    def take(number: int, row: int, logits: OfInput) -> None:
        for name, array in logits.items():
            found[number][name][row] = array

    compute(works, scheduler, take)
    return found


def decoded(
    model: Model, encoding: Encoding, logits: OfInput, options: Options
) -> dict[str, Result]:
    """The results of one input by head."""
    return {
        name: model.decoders[name].decode(array, encoding, **options.get(name, {}))
        for name, array in logits.items()
    }


def _joined(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The logits of all windows of a text: rows for heads per text, end to end for others."""
    return np.stack(arrays) if arrays[0].ndim == 1 else np.concatenate(arrays)
