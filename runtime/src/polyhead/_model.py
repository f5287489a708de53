"""What an engine has loaded: sessions, tokenizers and heads, exchanged as a whole."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import RLock
from types import MappingProxyType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.collection import ROLES, TEACHER
from polyhead.bundle.generation import Generation
from polyhead.bundle.head_spec import strides
from polyhead.bundle.manifest import Graph
from polyhead.bundle.reader import Bundle
from polyhead.errors import ManifestError
from polyhead.heads import Decoder, HeadSpec, decoder
from polyhead.heads.base import Result, decoded
from polyhead.heads.generation import Generated, GenerationDecoder
from polyhead.inference.backend import Backend
from polyhead.inference.generation import SearchOptions, SourceStates, StepBackend, Writing, Written
from polyhead.inference.generation import together as written_together
from polyhead.inference.scheduler import Job, Pass
from polyhead.inference.session import MultiThreadedSession
from polyhead.prediction import Prediction
from polyhead.text.encoding import Encoding
from polyhead.text.inputs import KINDS, InputReader
from polyhead.text.tokenizer import Tokenizer

_WAITING_BYTES = 2**26  # of states
_UNWRITTEN = Generated("", 0.0, 0, finished=False)


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
class Writer:
    """A head that writes: its decoder, and what computes the scores.

    Attributes:
        generation: what the head says of itself.
        decoder: makes results of token ids.
        backend: computes the scores.
        tokenizer: makes text of token ids.
    """

    generation: Generation
    decoder: GenerationDecoder
    backend: StepBackend
    tokenizer: Tokenizer

    @classmethod
    def of(
        cls, head: str, decoder: GenerationDecoder, backend: StepBackend, tokenizer: Tokenizer
    ) -> Self:
        """Put the parts together.

        Raises:
            ManifestError: when the tokenizer lacks a token that the decoder may write.
        """
        spec, known = decoder.generation, tokenizer.vocabulary_size
        needed = {spec.start, *spec.end, *spec.forced}
        needed |= set(range(known, spec.vocabulary)) - set(spec.suppressed)
        if max(needed) >= known:
            raise ManifestError(
                f"head {head!r}: its decoder writes or begins with the token {max(needed)}, but the"
                f" tokenizer has {known:,} tokens. Export the bundle again with the model's own"
                " tokenizer; tokens that it lacks belong to 'suppressed'."
            )
        return cls(spec, decoder, backend, tokenizer)

    def search(self, settings: Mapping[str, Any]) -> SearchOptions:
        """The settings of a call, checked.

        Raises:
            InvalidSetting: when one is out of its range.
        """
        return SearchOptions.of(self.generation, **settings)

    def writings(self, texts: Iterable[Unwritten], search: SearchOptions) -> Iterator[Writing]:
        """The texts in groups that are written together; nothing is computed yet."""

        def source(text: Unwritten) -> SourceStates:
            read = self.decoder.read(text.encoding)
            return SourceStates(text.states[read.rows], read.ids)

        pairs = ((source(text), text) for text in texts)
        return written_together(self.generation, self.backend, search, pairs)

    def text(self, written: Written) -> str:
        """What was written so far."""
        return self.tokenizer.decode(written.ids)

    def result(self, written: Written, encoding: Encoding) -> Generated:
        """What was written for a text."""
        return self.decoder.result(
            written.ids,
            written.positions,
            score=written.score,
            finished=written.finished,
            encoding=encoding,
            tokenizer=self.tokenizer,
        )


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
        writers: the heads that write.
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
    writers: Mapping[str, Writer] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        backend: Backend,
        tokenizer: Tokenizer,
        heads: Mapping[str, HeadSpec],
        max_tokens: int,
        steps: Mapping[str, StepBackend] = MappingProxyType({}),
    ) -> SubModel:
        """Put the parts together.

        Raises:
            ManifestError: when a head is of an unknown kind, or writes and has no back end for it.
        """
        decoders = {name: decoder(name, spec) for name, spec in heads.items()}
        writers = {}
        for name, found in decoders.items():
            if isinstance(found, GenerationDecoder):
                if name not in steps:
                    raise ManifestError(
                        f"head {name!r} writes, and nothing was given that computes its decoder."
                        " Load a bundle that has its graphs, or give Engine its back end in steps."
                    )
                writers[name] = Writer.of(name, found, steps[name], tokenizer)
        return cls(
            backend=backend,
            tokenizer=tokenizer,
            specs=dict(heads),
            decoders=decoders,
            writers=writers,
            strides={**dict.fromkeys(KINDS, 0), **strides(heads.values())},
            max_tokens=max_tokens,
        )

    def with_prefix(self, prefix: str) -> SubModel:
        """The same with other names of its heads."""
        return replace(
            self,
            specs={f"{prefix}{name}": spec for name, spec in self.specs.items()},
            decoders={f"{prefix}{name}": found for name, found in self.decoders.items()},
            writers={f"{prefix}{name}": found for name, found in self.writers.items()},
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
        if self.writers:
            found["decoders"] = {name: each.backend.info() for name, each in self.writers.items()}
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
            return _UNWRITTEN
        result = decoded(name, decoder, logits, encoding, settings, row)
        least = self.thresholds.get(name)
        if least is None:
            return result
        plain = decoded(name, decoder, logits, encoding, {}, row) if settings else result
        return result if decoder.confidence(plain) >= least else None


@dataclass(frozen=True, eq=False)
class Unwritten:
    """A text whose answer a decoder has to write yet.

    Attributes:
        writer: of the head.
        rows: the caller's numbers of the text.
        encoding: its tokens.
        states: of the encoder, `(tokens, hidden)`, all windows one after another.
    """

    writer: Writer
    rows: Sequence[int]
    encoding: Encoding
    states: NDArray[np.float32]


class WaitingTexts:
    """Texts that wait to be written, by head, so that equally long ones are written together."""

    def __init__(self) -> None:
        """None waits yet."""
        self._texts: dict[str, list[Unwritten]] = {}
        self._bytes = 0

    @property
    def many(self) -> bool:
        """Whether they should be written before more are taken, for the sake of memory."""
        return self._bytes > _WAITING_BYTES

    def add(self, job: Job[GraphRun], logits: Sequence[NDArray[np.float32]]) -> None:
        """A text whose states are there, for all heads of its run that write."""
        for name, column, _ in job.run.heads:
            if name in job.run.writers:
                states = logits[column]
                text = Unwritten(job.run.writers[name], job.rows, job.encoding, states)
                self._texts.setdefault(name, []).append(text)
                self._bytes += states.nbytes

    def taken(self) -> Mapping[str, Sequence[Unwritten]]:
        """All of them, which wait no longer; at least one for each head that is there."""
        found, self._texts, self._bytes = self._texts, {}, 0
        return found


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
        writers: the heads that write.
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
    writers: Mapping[str, Writer] = field(default_factory=dict)

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
            writers={name: found for part in parts for name, found in part.writers.items()},
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
        return replace(self, parts=(), requests={}, writers={})

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
                {n: part.writers[n] for n, _, _ in (*before, *own) if n in part.writers},
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
