"""Texts in, answers out: the steps of a call, one after another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead._call.request import NO_OPTIONS, GraphRun, HeadRequest, Options
from polyhead._call.writing import WaitingTexts
from polyhead.errors import InputError, of_input
from polyhead.heads.base import Result
from polyhead.heads.generation import Generated
from polyhead.inference.scheduler import Arrays, Job, Scheduler, Wanted
from polyhead.text.encoding import Encoding
from polyhead.text.inputs import OnError, OverflowPolicy, check, read, without_frames

Logits = dict[str, list[NDArray[np.float32]]]
"""By head, an array an input."""

_NOTHING = np.empty(0, np.float32)


@dataclass(eq=False, slots=True)
class Call:
    """What is asked, and what computes it; see `Engine.predict`.

    Attributes:
        scheduler: has the places in which things are computed.
        policy: for texts that are too long.
        request: the wanted heads.
        options: of single heads.
        errors: what becomes of an input that cannot be answered.
        wanted: whether an answer still is.
    """

    scheduler: Scheduler
    policy: OverflowPolicy
    request: HeadRequest
    options: Options = field(default_factory=dict)
    errors: OnError = "raise"
    wanted: Wanted | None = None

    def encode(self, texts: Iterable[Any]) -> list[tuple[Encoding, ...] | InputError | None]:
        """Each text as the wanted sub-models read it, by the numbers of the plan's readers.

        Raises:
            InputError: for the first that cannot be used, unless errors are returned.
        """
        inputs = check(texts, self.policy, self.request.refused, self.errors)

        def encode(row: int) -> tuple[Encoding, ...] | InputError | None:
            texts = inputs[row]
            if isinstance(texts, InputError):
                return texts
            if self.wanted is not None and not self.wanted(row):
                return None
            plan = self.request.text if texts[0] is None else self.request.pair
            try:
                return read(texts, row, plan.readers, self.policy, offsets=plan.offsets)
            except InputError as problem:
                if self.errors == "raise":
                    raise
                return without_frames(problem)

        return self.scheduler.spread(lambda rows: [*map(encode, rows)], len(inputs))

    def computed(
        self, encoded: Sequence[object], answered: Mapping[int, Container[str]]
    ) -> Iterator[tuple[Job[GraphRun], Arrays | None]]:
        """Each job with its logits; at last those of a teacher, for what `answered` lacks then."""
        for last in self.request.passes:
            if jobs := self.request.jobs(encoded, answered, last=last):
                yield from self.scheduler.run(self.scheduler.group(jobs), self.wanted)

    def logits(self, encoded: Sequence[object]) -> Logits:
        """What `Engine.logits` returns."""
        found: dict[int, dict[str, NDArray[np.float32]]] = defaultdict(dict)
        for job, logits in self.computed(encoded, found):
            assert logits is not None  # as all are wanted
            for row in job.rows:
                for name, column, decoder in job.run.heads:
                    given = name, decoder, logits[column], job.encoding, NO_OPTIONS, row
                    sure = name not in job.run.thresholds or job.run.answer(*given) is not None
                    if sure and name not in found[row]:
                        found[row][name] = logits[column].copy()  # equal texts share none
        names = [*self.request.text.heads, *self.request.pair.heads]
        return {n: [found[row].get(n, _NOTHING) for row in range(len(encoded))] for n in names}

    def answers(
        self, encoded: Sequence[object], answered_by: dict[int, dict[str, str]]
    ) -> list[Any]:
        """What `Engine.predict` returns; `answered_by` is told, by row and head, who did.

        Raises:
            GraphError: for logits and scores that are no numbers, unless errors are returned.
        """
        found = list(encoded)
        results: dict[int, dict[str, Result]] = defaultdict(dict)
        waiting = WaitingTexts(self.scheduler)

        def write() -> None:
            for name, row, answer in waiting.written(self.options, self.wanted):
                if isinstance(answer, Generated):
                    results[row][name] = answer
                elif answer is not None and self.errors == "raise":
                    raise of_input(answer, row)
                else:
                    found[row] = None if answer is None else of_input(answer, row)

        for job, logits in self.computed(found, results):
            for row in job.rows:
                if logits is None:
                    found[row] = None
                    continue
                if not job.finite:
                    if self.errors == "raise":
                        raise job.run.fault(logits, row)
                    found[row] = job.run.fault(logits, row)
                    continue
                for name, column, decoder in job.run.heads:
                    if name in results[row]:  # by the student
                        continue
                    settings = self.options.get(name, NO_OPTIONS)
                    given = name, decoder, logits[column], job.encoding, settings, row
                    if (answer := job.run.answer(*given)) is not None:
                        results[row][name] = answer
                        if job.run.role is not None:
                            answered_by[row][name] = job.run.role
            if job.run.writers and logits is not None and job.finite:
                waiting.add(job, logits)
                if waiting.many:
                    write()
        write()
        return [
            self.request.prediction(each, results[row], answered_by[row])
            if isinstance(each, tuple)
            else each
            for row, each in enumerate(found)
        ]

    def pieces(
        self, encoded: Sequence[object], wanted: Callable[[], bool] | None
    ) -> Iterator[str | Generated]:
        """What `Engine.stream` gives, of one text and one head, whose options are there."""
        waiting = WaitingTexts(self.scheduler)
        for job, logits in self.computed(encoded, {}):
            assert logits is not None  # as all are wanted
            if not job.finite:
                raise job.run.fault(logits, 0)
            waiting.add(job, logits)
        (settings,) = self.options.values()
        yield from waiting.pieces(settings, wanted)
