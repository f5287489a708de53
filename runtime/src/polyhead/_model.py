"""What an engine has loaded: sessions, tokenizers and heads, exchanged as a whole."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import RLock
from types import MappingProxyType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.collection import TEACHER
from polyhead.bundle.head_spec import strides
from polyhead.bundle.manifest import Graph
from polyhead.bundle.reader import Bundle
from polyhead.errors import ManifestError
from polyhead.heads import Decoder, HeadSpec, decoder
from polyhead.heads.generation import Generated, GenerationDecoder
from polyhead.inference.backend import Backend
from polyhead.inference.generation import SearchOptions, SourceStates, StepBackend, Written
from polyhead.inference.session import MultiThreadedSession
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
class Writer:
    """A head that writes: its decoder, and what computes the scores.

    Attributes:
        decoder: says what is read, and makes results of token ids.
        backend: computes the scores.
        tokenizer: makes text of token ids.
    """

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
        return cls(decoder, backend, tokenizer)

    def search(self, settings: Mapping[str, Any]) -> SearchOptions:
        """The settings of a call, checked.

        Raises:
            InvalidSetting: when one is out of its range.
        """
        return SearchOptions.of(self.decoder.generation, **settings)

    def source(self, states: NDArray[np.float32], encoding: Encoding) -> SourceStates:
        """What the decoder attends to, of the encoder's states of a text, `(tokens, hidden)`."""
        read = self.decoder.read(encoding)
        return SourceStates(states[read.rows], read.ids)

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

    def info(self, model: LoadedModel) -> dict[str, Any]:
        """As plain data, with the thresholds of the model."""
        counts = {"texts": self.texts, "escalated": self.escalated}
        return {"cascade": {"thresholds": dict(model.cascade), **counts}}


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
        requests: what calls have asked for, resolved by `polyhead._call.request`.
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
    requests: dict[object, Any] = field(default_factory=dict)
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

    def sub_models(self) -> dict[str, Any]:
        """All sub-models as plain data, and what could be faster."""
        note = {} if self.note is None else {"note": self.note}
        return {"sub_models": [part.info() for part in self.parts], **note}

    def without_sessions(self) -> LoadedModel:
        """What a closed engine still says of itself."""
        return replace(self, parts=(), requests={}, writers={})


def _cure(one: int, other: int) -> str:
    """What to do about two sub-models that read so many tokens each."""
    if one == other:
        return "'polyhead combine' makes one pass of them."
    return (
        f"'polyhead combine' leaves them apart, since they read {one} and {other} tokens. Import"
        f" both with 'polyhead import --max-tokens {min(one, other)}', or train both with one"
        " max_tokens; then combine them."
    )
