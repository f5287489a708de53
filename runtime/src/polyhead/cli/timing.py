"""What heads of one engine cost alone and together, one text at a time."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from polyhead.cli import texts
from polyhead.engine import Engine
from polyhead.errors import InputError
from polyhead.text.encoding import Input

_ROUNDS, _WARMUP, _MOST = 15, 3, 20
Kind = Literal["text", "pair"]
_USUAL: dict[Kind, list[Input]] = {
    "text": ["A parcel of Anna was late, and the kettle in it was broken: please call me back."],
    "pair": [("Where does Anna live?", "Anna lives in Oslo, and a parcel for her was late.")],
}


@dataclass(frozen=True)
class Times:
    """Medians in ms.

    Attributes:
        alone: a text with the heads of one group, by group.
        together: a text with all heads; where some read texts and some pairs, one of each.
    """

    alone: tuple[float, ...]
    together: float


def alone_and_together(
    engine: Engine, groups: Sequence[Sequence[str]], file: Path | None, field: str
) -> Times:
    """Time groups of heads in rounds, each after the other, so that noise meets all of them.

    Args:
        engine: has all heads.
        groups: names of heads; those of a group read one kind of input.
        file: texts to ask; None, or none of a kind in it, takes a short one of our own.
        field: of the file, as `polyhead run` has it.
    """
    kinds = [engine.heads[names[0]].input for names in groups]
    asked = {kind: _inputs(engine, kind, file, field) for kind in dict.fromkeys(kinds)}

    def alone(names: Sequence[str], kind: Kind, number: int) -> None:
        engine(_of(asked[kind], number), heads=names)

    def together(number: int) -> None:
        for inputs in asked.values():
            engine(_of(inputs, number))

    jobs: list[Callable[[int], None]] = [
        partial(alone, names, kind) for names, kind in zip(groups, kinds, strict=True)
    ]
    jobs.append(together)
    found: list[list[float]] = [[] for _ in jobs]
    for i in range(_WARMUP + _ROUNDS):
        for job, times in zip(jobs, found, strict=True):
            start = time.perf_counter()
            job(i)
            times.append(1e3 * (time.perf_counter() - start))
    *each, whole = (statistics.median(times[_WARMUP:]) for times in found)
    return Times(tuple(each), whole)


def _of(inputs: Sequence[Input], number: int) -> Input:
    return inputs[number % len(inputs)]


def _inputs(engine: Engine, kind: Kind, file: Path | None, field: str) -> list[Input]:
    """Some of the file that the engine can read."""
    if file is None:
        return _USUAL[kind]
    lines: list[Input] = []
    if file.suffix == ".txt":
        lines += [line for line in file.read_text("utf-8").splitlines() if line.strip()]
    else:
        lines += texts.read(str(file), field)
    own = [item for item in lines if isinstance(item, str) == (kind == "text")]
    read = engine.predict(list(itertools.islice(own, _MOST)), errors="return")
    good = [item for item, answer in zip(own, read, strict=False) if not _refused(answer)]
    return good or _USUAL[kind]


def _refused(answer: object) -> bool:
    return isinstance(answer, InputError)
