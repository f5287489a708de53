"""What an engine has loaded: sessions, tokenizers and heads, exchanged as a whole."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import RLock
from types import MappingProxyType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.collection import ROLES, TEACHER
from polyhead.bundle.head_spec import strides
from polyhead.bundle.manifest import Graph
from polyhead.bundle.reader import Bundle
from polyhead.heads import Decoder, HeadSpec, decoder
from polyhead.heads.base import Result, decoded
from polyhead.inference.backend import Backend
from polyhead.inference.scheduler import Job, Pass
from polyhead.inference.session import MultiThreadedSession
from polyhead.prediction import Prediction
from polyhead.text.encoding import Encoding
from polyhead.text.inputs import KINDS, InputReader
from polyhead.text.tokenizer import Tokenizer


class Origin(Protocol):
    """Where a model came from; can be pickled."""

    def at(self, path: str | Path) -> Self:
        """The same settings for another bundle."""
        ...

    def model(self) -> LoadedModel:
        """What is there, read now."""
        ...

    def engine(self) -> object:
        """An engine of it."""
        ...


@dataclass(frozen=True, eq=False)
class SubModel:
    """Session, tokenizer and heads of one bundle, or of one part of a combined bundle.

    Attributes:
        backend: computes logits.
        tokenizer: makes token ids.
        specs: heads by their names in the engine, in the order of results.
        decoders: by head.
        strides: tokens that windows share, by kind of input.
        max_tokens: longest input of the encoder, special tokens included.
        multi_threaded: the back end with several threads for one call; None where there is none.
        bundle: where it came from; None for a back end that the caller made.
        graph: of the bundle, that the back end runs.
    """

    backend: Backend
    tokenizer: Tokenizer
    specs: Mapping[str, HeadSpec]
    decoders: Mapping[str, Decoder]
    strides: Mapping[str, int]
    max_tokens: int
    multi_threaded: MultiThreadedSession | None = None
    bundle: Bundle | None = None
    graph: Graph | None = None

    @classmethod
    def of(
        cls, backend: Backend, tokenizer: Tokenizer, heads: Mapping[str, HeadSpec], max_tokens: int
    ) -> SubModel:
        """Put the parts together.

        Raises:
            ManifestError: when a head is of an unknown kind.
        """
        return cls(
            backend=backend,
            tokenizer=tokenizer,
            specs=dict(heads),
            decoders={name: decoder(name, spec) for name, spec in heads.items()},
            strides={**dict.fromkeys(KINDS, 0), **strides(heads.values())},
            max_tokens=max_tokens,
        )

    def with_prefix(self, prefix: str) -> SubModel:
        """The same with other names of its heads."""
        return replace(
            self,
            specs={f"{prefix}{name}": spec for name, spec in self.specs.items()},
            decoders={f"{prefix}{name}": found for name, found in self.decoders.items()},
        )

    def reader(self, kind: str) -> InputReader:
        """How it reads inputs of a kind; equal for sub-models that read alike."""
        return InputReader(self.tokenizer, self.max_tokens, self.strides[kind])

    def info(self) -> dict[str, Any]:
        """The sub-model as plain data."""
        bundle = self.bundle
        return {
            "source": None if bundle is None else str(bundle.path),
            "heads": list(self.specs),
            "encoder": None if bundle is None else bundle.manifest.encoder.name,
            "fingerprint": None if bundle is None else bundle.manifest.encoder.fingerprint,
            "max_tokens": self.max_tokens,
            **self.session_info(),
        }

    def session_info(self) -> dict[str, Any]:
        """What runs its graph, and which graph, as plain data."""
        fast, graph = self.multi_threaded, self.graph
        found: dict[str, Any] = {"multi_threaded": None if fast is None else fast.info()}
        found["special_tokens"] = self.tokenizer.special_tokens
        if graph is not None:
            kept = ("file", "sha256", "precision", "layout", "target")
            found["graph"] = {name: getattr(graph, name) for name in kept}
        return found


@dataclass(frozen=True, eq=False)
class GraphRun(Pass):
    """One run of a graph for inputs of a kind, and the heads that read its logits.

    Attributes:
        reader: number of the reader whose token ids are fed.
        heads: name, column among the outputs and decoder of each.
        role: of a cascade, which of the two models it is; None for others.
        thresholds: of a student, by head the confidence from which its answer stands.
        last: whether it waits for the student, and answers only what that has left.
    """

    reader: int
    heads: Sequence[tuple[str, int, Decoder]]
    role: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    last: bool = False

    def answer(
        self,
        name: str,
        decoder: Any,  # one with `confidence`, where the head has a threshold
        logits: NDArray[np.float32],
        encoding: Encoding,
        settings: Mapping[str, Any],
        row: int,
    ) -> Result | None:
        """The result of a head, as by `decoded`; None where it is not sure enough to stand."""
        result = decoded(name, decoder, logits, encoding, settings, row)
        least = self.thresholds.get(name)
        if least is None:
            return result
        plain = decoded(name, decoder, logits, encoding, {}, row) if settings else result
        return result if decoder.confidence(plain) >= least else None


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


class CascadeCounts:
    """How many texts were asked the heads of a cascade, and how many of them the teacher, too."""

    def __init__(self) -> None:
        self._lock = RLock()  # a signal handler that uses the engine would wait for itself
        self.texts = self.escalated = 0

    def add(self, heads: Container[str], answered_by: Iterable[Mapping[str, str]]) -> None:
        """Count some texts; `answered_by` as in their predictions."""
        roles = [{role for n, role in each.items() if n in heads} for each in answered_by]
        with self._lock:
            self.texts += sum(map(bool, roles))
            self.escalated += sum(TEACHER in each for each in roles)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """All sub-models of an engine; nothing in it changes, so that a call sees one state.

    Attributes:
        parts: the sub-models; none after the engine's end.
        specs: all heads by name, in the order of results.
        options: names of the settings that a call may give, by head.
        tokenizer: of the first sub-model.
        max_tokens: longest input of any encoder.
        source: where it came from, for people; None where nobody said.
        origin: where it came from, to open it again; None for a back end that the caller made.
        cascade: where there is a student and a teacher, by head the confidence from which the
            student's answer stands; empty for others. Of other heads of one name, the last
            sub-model's answers.
        requests: what calls have asked for, resolved.
    """

    parts: Sequence[SubModel]
    specs: Mapping[str, HeadSpec]
    options: Mapping[str, tuple[str, ...]]
    tokenizer: Tokenizer
    max_tokens: int
    source: str | None = None
    origin: Origin | None = None
    cascade: Mapping[str, float] = field(default_factory=dict)
    requests: dict[object, HeadRequest] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        parts: Sequence[SubModel],
        source: str | None = None,
        origin: Origin | None = None,
        cascade: Mapping[str, float] = MappingProxyType({}),
    ) -> LoadedModel:
        """Heads of sub-models side by side, or of a cascade; there is at least one sub-model."""
        decoders = {name: found for part in parts for name, found in part.decoders.items()}
        return cls(
            parts=parts,
            specs={name: spec for part in parts for name, spec in part.specs.items()},
            options={name: tuple(getattr(d, "options", ())) for name, d in decoders.items()},
            tokenizer=parts[0].tokenizer,
            max_tokens=max(part.max_tokens for part in parts),
            source=source,
            origin=origin,
            cascade=cascade,
        )

    @property
    def note(self) -> str | None:
        """What would make one pass of two sub-models over one encoder; None where none are."""
        for one, other in () if self.cascade else itertools.combinations(self.parts, 2):
            if one.bundle is None or other.bundle is None:
                continue
            if one.backend is other.backend and one.max_tokens == other.max_tokens:
                continue
            if one.bundle.path == other.bundle.path:  # combined already, and they stay apart
                continue
            encoders = one.bundle.manifest.encoder, other.bundle.manifest.encoder
            if encoders[0].fingerprint == encoders[1].fingerprint:
                return (
                    f"{one.bundle.path} and {other.bundle.path} have one encoder, which runs once"
                    f" for each: {_cure(one.max_tokens, other.max_tokens)}"
                )
        return None

    def without_sessions(self) -> LoadedModel:
        """What a closed engine still says of itself."""
        return replace(self, parts=(), requests={})

    def plan(self, kind: str, heads: Sequence[str]) -> InputPlan:
        """How `heads`, all of which read inputs of this kind, answer them.

        Sub-models that read alike share the token ids, and one run where their graph is the same.
        Of a cascade, the teacher waits for the student if it may be asked about one of its heads.
        """
        readers: list[InputReader] = []
        columns: dict[tuple[int, int, str | None], list[str]] = {}
        runs: dict[tuple[int, int, str | None], GraphRun] = {}
        owner = {name: part for part in self.parts for name in part.specs}
        for place, part in enumerate(self.parts):
            asked = [
                name
                for name in heads
                if name in part.specs and (owner[name] is part or name in self.cascade)
            ]
            if not asked:
                continue
            role = ROLES[place] if self.cascade else None
            thresholds = {name: t for name, t in self.cascade.items() if name in asked}
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
            )
        decoders = [decoder for run in runs.values() for _, _, decoder in run.heads]
        offsets = not decoders or any(getattr(d, "needs_offsets", True) for d in decoders)
        readers = readers or [self.parts[0].reader(kind)]
        return InputPlan(heads, readers, list(runs.values()), offsets)


def _cure(one: int, other: int) -> str:
    """What to do about two sub-models that read so many tokens each."""
    if one == other:
        return "'polyhead combine' makes one pass of them."
    return (
        f"'polyhead combine' leaves them apart, since they read {one} and {other} tokens. Import"
        f" both with 'polyhead import --max-tokens {min(one, other)}', or train both with one"
        " max_tokens; then combine them."
    )
