"""What a call asks for: which graphs run for its inputs, and which heads read the logits."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead._model import LoadedModel, Writer
from polyhead.bundle.collection import ROLES, TEACHER
from polyhead.bundle.head_spec import check_name
from polyhead.errors import GraphError, InvalidSetting, UnknownHead, nearest
from polyhead.heads import Decoder
from polyhead.heads.base import Result, decoded, unreadable
from polyhead.heads.generation import Generated
from polyhead.inference.scheduler import Arrays, Job, Pass
from polyhead.prediction import Prediction
from polyhead.text.encoding import Encoding
from polyhead.text.inputs import KINDS, InputReader

Options = Mapping[str, Mapping[str, Any]]
"""Settings of single heads for one call, by head name: ``{"summary": {"ratio": 0.2}}``."""

NO_OPTIONS: Options = MappingProxyType({})
# Resolved requests that a model keeps; a service asks for a handful of them.
_MOST_REQUESTS = 64
_UNWRITTEN = Generated("", 0.0, 0, finished=False)


@dataclass(frozen=True, eq=False)
class GraphRun(Pass):
    """One run of a graph for inputs of a kind, and the heads that read its logits.

    Attributes:
        reader: number of the reader whose token ids are fed.
        heads: name, column among the outputs and decoder of each.
        role: of a cascade, which of the two models it is; None for others.
        thresholds: of a student, by head the confidence from which its answer stands.
        last: whether it waits for the student, and answers only what that has left.
        writers: those of its heads that write.
    """

    reader: int
    heads: Sequence[tuple[str, int, Decoder]]
    role: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    last: bool = False
    writers: Mapping[str, Writer] = field(default_factory=dict)

    def answer(
        self,
        name: str,
        decoder: Any,  # one with `confidence`, where the head has a threshold
        logits: NDArray[np.float32],
        encoding: Encoding,
        settings: Mapping[str, Any],
        row: int,
    ) -> Result | None:
        """The result of a head, as by `decoded`; None where it is not sure enough to stand.

        Of a head that writes, it is what stands in its place until that is done.
        """
        if name in self.writers:
            if logits.shape[:-1] != (len(encoding.ids),):
                raise unreadable(name, logits, encoding, row)
            return _UNWRITTEN
        result = decoded(name, decoder, logits, encoding, settings, row)
        least = self.thresholds.get(name)
        if least is None:
            return result
        plain = decoded(name, decoder, logits, encoding, {}, row) if settings else result
        return result if decoder.confidence(plain) >= least else None

    def fault(self, logits: Arrays, row: int) -> GraphError:
        """The error for logits of an input that are no numbers."""
        heads = [n for n, column, _ in self.heads if not np.isfinite(logits[column]).all()]
        return GraphError(
            f"input {row}: the graph gives nan or infinite logits for the head"
            f" {', '.join(map(repr, heads))}, so there is no answer. Its weights are at fault, or"
            " it overflows with this input: train or export again; other heads can be asked by"
            " name."
        )


@dataclass(frozen=True, eq=False)
class InputPlan:
    """How inputs of a kind are answered.

    Attributes:
        heads: that answer, in the order of results.
        readers: that make the token ids; at least one, even where no head answers.
        runs: of graphs.
        offsets: whether one of the heads needs to know where tokens are; also where there is none.
    """

    heads: Sequence[str]
    readers: Sequence[InputReader]
    runs: Sequence[GraphRun]
    offsets: bool


@dataclass(frozen=True, eq=False)
class HeadRequest:
    """Wanted heads, resolved.

    Attributes:
        text: how texts are answered.
        pair: how pairs are answered.
        refused: the kinds of inputs that cannot be answered, and why.
    """

    text: InputPlan
    pair: InputPlan
    refused: Mapping[str, str]

    @cached_property
    def passes(self) -> tuple[bool, ...]:
        """What `jobs` takes as `last`, in its turn."""
        teacher = any(run.last for plan in (self.text, self.pair) for run in plan.runs)
        return (False, True) if teacher else (False,)

    def jobs(
        self, encoded: Sequence[object], answered: Mapping[int, Container[str]], *, last: bool
    ) -> list[Job[GraphRun]]:
        """What has to be computed: a job for each different input and run of a graph.

        Args:
            encoded: by input, its encodings by reader; what is no tuple is passed over.
            answered: by input, the heads that have an answer.
            last: whether those that wait for the others, or the others.
        """
        jobs: dict[tuple[int, str | None, str], Job[GraphRun]] = {}
        for row, encodings in enumerate(encoded):
            if isinstance(encodings, tuple):
                first = encodings[0]
                for run in self._plan(encodings).runs:
                    if run.last is not last:
                        continue
                    if last and all(name in answered[row] for name, _, _ in run.heads):
                        continue
                    key = id(run), first.query, first.text
                    if key in jobs:
                        jobs[key].rows.append(row)
                    else:
                        jobs[key] = Job(run, [row], encodings[run.reader])
        return list(jobs.values())

    def prediction(
        self,
        encodings: tuple[Encoding, ...],
        results: dict[str, Result],
        answered_by: dict[str, str],
    ) -> Prediction:
        """Of an input; tokens and windows are those of the sub-model that read the most."""
        first, plan = encodings[0], self._plan(encodings)
        tokens, windows, truncated = len(first.ids), len(first.starts), first.truncated
        for other in encodings[1:]:
            tokens, windows = max(tokens, len(other.ids)), max(windows, len(other.starts))
            truncated |= other.truncated
        if len(plan.runs) > 1:
            results = {name: results[name] for name in plan.heads}
            answered_by = {n: answered_by[n] for n in plan.heads if n in answered_by}
        return Prediction(first.text, results, tokens, windows, truncated, first.query, answered_by)

    def _plan(self, encodings: tuple[Encoding, ...]) -> InputPlan:
        return self.text if encodings[0].query is None else self.pair


def requested(heads: Iterable[str] | None, model: LoadedModel) -> HeadRequest:
    """The wanted heads of a model, resolved once for all calls that ask for the same; None for all.

    Raises:
        UnknownHead: for a name that the model does not have; names the nearest.
    """
    if heads is not None and not isinstance(heads, str) and isinstance(heads, Iterable):
        heads = tuple(heads)
    with suppress(KeyError, TypeError):  # new, or a name that is no text
        known: HeadRequest = model.requests[heads]
        return known
    if heads is None:
        asked = list(model.specs)
    elif not isinstance(heads, Iterable):
        raise UnknownHead(
            f"heads: found {type(heads).__name__}, expected names of {', '.join(model.specs)}."
        )
    else:
        asked = [heads] if isinstance(heads, str) else list(heads)
        for name in asked:
            check_name(name, model.specs)
    wanted = {
        kind: [n for n in model.specs if n in asked and model.specs[n].input == kind]
        for kind in KINDS
    }
    found = HeadRequest(
        text=_plan(model, "text", wanted["text"]),
        pair=_plan(model, "pair", wanted["pair"]),
        refused=_refused(wanted, by_name=heads is not None),
    )
    if len(model.requests) < _MOST_REQUESTS:
        model.requests[heads] = found
    return found


def _refused(wanted: Mapping[str, list[str]], *, by_name: bool) -> dict[str, str]:
    """The kinds of inputs that a head named by the caller does not read, or that no head reads."""
    found = {}
    for kind, other in (("text", "pair"), ("pair", "text")):
        if wanted[other] and (by_name or not wanted[kind]):
            found[kind] = f"the head {wanted[other][0]!r} reads {KINDS[other]}"
    return found


def _plan(model: LoadedModel, kind: str, heads: Sequence[str]) -> InputPlan:
    """How `heads` of a model, all of which read inputs of this kind, answer them.

    Sub-models that read alike share the token ids, and one run where their graph is the same.
    Of a cascade, the teacher waits for the student if it may be asked about one of its heads.
    """
    readers: list[InputReader] = []
    columns: dict[tuple[int, int, str | None], list[str]] = {}
    runs: dict[tuple[int, int, str | None], GraphRun] = {}
    owner = {name: part for part in model.parts for name in part.specs}
    for place, part in enumerate(model.parts):
        asked = [
            name
            for name in heads
            if name in part.specs and (owner[name] is part or name in model.cascade)
        ]
        if not asked:
            continue
        role = ROLES[place] if model.cascade else None
        thresholds = {name: t for name, t in model.cascade.items() if name in asked}
        last = role == TEACHER and bool(thresholds)
        reader = part.reader(kind)
        if reader not in readers:
            readers.append(reader)
        number = readers.index(reader)
        key = (id(part.backend), number, role)
        outputs = columns.setdefault(key, [])
        for name in asked:
            if part.specs[name].output not in outputs:
                outputs.append(part.specs[name].output)
        before = runs[key].heads if key in runs else ()
        own = [(n, outputs.index(part.specs[n].output), part.decoders[n]) for n in asked]
        runs[key] = GraphRun(
            part.backend,
            part.multi_threaded,
            outputs,
            number,
            [*before, *own],
            role,
            {} if last else thresholds,
            last,
            {n: part.writers[n] for n, _, _ in (*before, *own) if n in part.writers},
        )
    decoders = [decoder for run in runs.values() for _, _, decoder in run.heads]
    offsets = not decoders or any(getattr(d, "needs_offsets", True) for d in decoders)
    readers = readers or [model.parts[0].reader(kind)]
    return InputPlan(heads, readers, list(runs.values()), offsets)


def checked_options(options: Options, model: LoadedModel) -> Options:
    """The settings of single heads; their values are for the heads to check, later or now.

    Raises:
        UnknownHead: for settings of a head that the model does not have.
        InvalidSetting: for a setting that a head does not have, or of another shape; or for a value
            out of its range, of a head that writes.
    """
    if not isinstance(options, Mapping):
        raise InvalidSetting(
            f"options: found {type(options).__name__}, expected settings by head, as in"
            " {'summary': {'k': 2}}."
        )
    for head, settings in options.items():
        check_name(head, model.specs)
        if not isinstance(settings, Mapping):
            raise InvalidSetting(
                f"options: found {type(settings).__name__} for the head {head!r}, expected"
                " values by option, as in {'summary': {'k': 2}}."
            )
        allowed = model.options[head]
        for name in settings:
            if name not in allowed:
                raise InvalidSetting(
                    f"options: the head {head!r} has no option {name!r}; allowed:"
                    f" {', '.join(allowed) or 'none'}.{nearest(str(name), allowed)}"
                )
        if head in model.writers:  # writing takes long: not to be refused after the encoder's pass
            model.writers[head].search(settings)
    return options
