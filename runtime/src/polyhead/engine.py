"""The engine: texts in, predictions out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from polyhead import threads as thread_budget
from polyhead.bundle.reader import read
from polyhead.errors import (
    EngineClosed,
    GraphError,
    InvalidSetting,
    InvalidText,
    TextTooLong,
    UnknownHead,
    WrongInput,
    nearest,
)
from polyhead.grouping import groups
from polyhead.heads import HeadSpec, decoder
from polyhead.prediction import Prediction
from polyhead.session import Backend, OnnxSession
from polyhead.tokenizing import Encoding, Input, Tokenizer, least_room

OnOverflow = Literal["window", "truncate", "error"]
_ON_OVERFLOW = ("window", "truncate", "error")

Options = Mapping[str, Mapping[str, Any]]
"""Settings of single heads for one call, by head name: ``{"summary": {"ratio": 0.2}}``."""

_SHOWN = {"text": "a lone text", "pair": "a pair of texts"}
_IDS, _TYPES = "input_ids", "token_type_ids"


class Engine:
    """Answers texts with every head in one encoder pass. Safe to call from many threads.

    Made by `polyhead.load`; training makes one over a PyTorch model, so that both go the same way.
    """

    def __init__(
        self,
        backend: Backend,
        tokenizer: Tokenizer,
        heads: Mapping[str, HeadSpec],
        *,
        max_tokens: int,
        threads: int | None = None,
        batch_tokens: int = 256,
        on_overflow: OnOverflow = "window",
        source: str | None = None,
    ) -> None:
        """Wire the parts.

        Args:
            backend: computes logits.
            tokenizer: makes token ids.
            heads: by name; their order is the order of results.
            max_tokens: longest input of the encoder, special tokens included.
            threads: upper limit of worker threads; None for all that the process may use.
            batch_tokens: most tokens in one call of the back end.
            on_overflow: what happens to a text of more than `max_tokens`: it is read in windows
                that overlap, its end is left out and the prediction says so, or a `TextTooLong`
                error.
            source: where the engine came from, for `info`.

        Raises:
            InvalidSetting: when a number or option is out of its range.
        """
        if type(batch_tokens) is not int or batch_tokens < 1:
            raise InvalidSetting(
                f"batch_tokens={batch_tokens!r}: expected a whole number of at least 1."
            )
        if on_overflow not in _ON_OVERFLOW:
            raise InvalidSetting(
                f"on_overflow={on_overflow!r}: allowed: {', '.join(_ON_OVERFLOW)}."
            )
        self._backend = backend
        self.tokenizer = tokenizer
        self._specs = dict(heads)
        self._decoders = {name: decoder(name, spec) for name, spec in heads.items()}
        self._max_tokens = max_tokens
        self._threads = thread_budget.budget(threads)
        self._batch_tokens = batch_tokens
        self._on_overflow = on_overflow
        # One stride for all heads of a kind: answers must not depend on which were asked.
        self._strides = {
            kind: max((spec.stride for spec in heads.values() if spec.input == kind), default=0)
            for kind in _SHOWN
        }
        self._source = source
        self._pool: ThreadPoolExecutor | None = None
        if self._threads > 1:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="polyhead")
        self._closed = False

    @property
    def heads(self) -> dict[str, HeadSpec]:
        """The heads by name, in the order of results."""
        return dict(self._specs)

    def __call__(
        self, text: Input, *, heads: Iterable[str] | None = None, options: Options | None = None
    ) -> Prediction:
        """Answer one text, or one pair of texts.

        Args:
            text: any string, the empty one too; or a pair of them for heads that read pairs.
            heads: names of the wanted heads; None for all that read this kind of input.
            options: settings of single heads for this call.

        Raises:
            InputError: when the text, a head name or an option cannot be used; see
                `polyhead.errors`.
            EngineClosed: after `close`.
        """
        return self.predict([text], heads=heads, options=options)[0]

    def predict(
        self,
        texts: Sequence[Input],
        *,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
    ) -> list[Prediction]:
        """Answer many texts; results stand in the order of `texts`, an empty list gives one.

        Texts are answered by the heads for texts, pairs by the heads for pairs; one list may hold
        both. An answer does not depend on the other texts of the call: texts are never padded.

        Raises:
            InputError: when any text, head name or name of an option cannot be used, before
                anything is computed, naming the index; or the value of an option, when it is used.
            EngineClosed: after `close`.
        """
        chosen = self._options({} if options is None else options)
        encodings, wanted, logits = self._compute(texts, heads)
        return [
            Prediction(
                text=encoding.text,
                query=encoding.query,
                results={
                    name: self._decoders[name].decode(
                        logits[name][i], encoding, **chosen.get(name, {})
                    )
                    for name in wanted[encoding.kind]
                },
                tokens=len(encoding),
                windows=len(encoding.starts),
                truncated=encoding.truncated,
            )
            for i, encoding in enumerate(encodings)
        ]

    def logits(
        self, texts: Sequence[Input], *, heads: Iterable[str] | None = None
    ) -> dict[str, list[NDArray[np.float32]]]:
        """The raw logits by head, one array a text, in the order of `texts`.

        Shapes are `(labels,)`, `(1,)`, `(hidden,)` or `(tokens, outputs)` by the head's kind. Heads
        that answer per text have one row a window, `(windows, …)`, for a text of several. Where a
        head does not read an input of this kind, the array is empty, `(0,)`. Raises what `predict`
        raises.
        """
        return self._compute(texts, heads)[2]

    def encode(self, texts: Sequence[Input]) -> list[Encoding]:
        """Token ids and offsets of `texts` as the encoder reads them, over-long texts handled.

        Raises:
            InputError: when a text cannot be used; names its index.
        """
        encodings = self.tokenizer.encode(texts)
        return [self._fitted(encoding, index) for index, encoding in enumerate(encodings)]

    def info(self) -> dict[str, Any]:
        """What really runs: back end, threads, limits and heads, as plain data."""
        return {
            **self._backend.info(),
            "source": self._source,
            "threads": self._threads,
            "batch_tokens": self._batch_tokens,
            "max_tokens": self._max_tokens,
            "on_overflow": self._on_overflow,
            "heads": list(self._specs),
        }

    def close(self) -> None:
        """Give the worker threads back; later calls raise `EngineClosed`. May be called twice."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _fitted(self, encoding: Encoding, index: int) -> Encoding:
        """What the encoder can read of an input, by `on_overflow`."""
        limit, kind = self._max_tokens, encoding.kind
        if len(encoding) <= limit:
            return encoding
        room = encoding.room(limit)
        if room < least_room(limit):
            raise TextTooLong(
                f"input {index}: the first text of the pair leaves {max(0, room)} of {limit:,}"
                f" tokens for the second, at least {least_room(limit)} are needed. The first is"
                " never cut: shorten it.",
                index=index,
            )
        if self._on_overflow == "window":
            return encoding.windowed(limit, self._strides[kind])
        if self._on_overflow == "truncate":
            return encoding.cut(limit)
        raise TextTooLong(
            f"input {index}: {len(encoding):,} tokens; this encoder reads {limit:,}. Split the"
            " text, or load with on_overflow='window' to have it read in parts, or 'truncate' to"
            " leave the end out.",
            index=index,
        )

    def _compute(
        self, texts: Sequence[Input], heads: Iterable[str] | None
    ) -> tuple[list[Encoding], dict[str, list[str]], dict[str, list[NDArray[np.float32]]]]:
        """Encodings, the wanted heads by kind of input, and logits by head and input."""
        if self._closed:
            raise EngineClosed("This engine was closed. Load the bundle again with polyhead.load.")
        if isinstance(texts, str | bytes | bytearray) or not isinstance(texts, Sequence):
            raise InvalidText(
                f"texts: found {type(texts).__name__}, expected a list of str."
                " For one text call engine(text)."
            )
        wanted = self._wanted(heads)
        encodings = self.encode(texts)
        self._check_kinds(encodings, wanted, by_name=heads is not None)
        logits = {
            name: [np.empty(0, np.float32)] * len(encodings)
            for names in wanted.values()
            for name in names
        }
        for kind, names in wanted.items():
            if names:
                rows = [i for i, encoding in enumerate(encodings) if encoding.kind == kind]
                self._run(encodings, rows, names, logits)
        return encodings, wanted, logits

    def _run(
        self,
        encodings: Sequence[Encoding],
        rows: Sequence[int],
        names: Sequence[str],
        logits: Mapping[str, list[NDArray[np.float32]]],
    ) -> None:
        """Fill in the logits of the inputs `rows`, window by window, in groups of one length."""
        windows = [(i, window) for i in rows for window in encodings[i].windows]
        outputs = [self._specs[name].output for name in names]
        found: list[Sequence[NDArray[np.float32]]] = [()] * len(windows)

        def run(group: list[int]) -> None:
            parts = [(encodings[windows[job][0]], windows[job][1]) for job in group]
            feeds = {_IDS: np.stack([encoding.ids[window] for encoding, window in parts])}
            if _TYPES in self._backend.inputs:
                feeds[_TYPES] = np.stack([e.token_types[window] for e, window in parts])
            arrays = self._backend.run(outputs, feeds)
            for row, job in enumerate(group):
                found[job] = [array[row] for array in arrays]

        jobs = groups([w.stop - w.start for _, w in windows], self._batch_tokens)
        if self._pool is None or len(jobs) < 2:
            for job in jobs:
                run(job)
        else:
            list(self._pool.map(run, jobs))
        parts = iter(found)
        for i in rows:
            of_input = [next(parts) for _ in encodings[i].starts]
            for column, name in enumerate(names):
                arrays = [part[column] for part in of_input]
                join = np.stack if arrays[0].ndim == 1 else np.concatenate
                logits[name][i] = arrays[0] if len(arrays) == 1 else join(arrays)

    def _wanted(self, heads: Iterable[str] | None) -> dict[str, list[str]]:
        """The wanted heads by the kind of their input, in the order of results."""

        def by_kind(names: Sequence[str]) -> dict[str, list[str]]:
            return {k: [n for n in names if self._specs[n].input == k] for k in _SHOWN}

        if heads is None:
            return by_kind(list(self._specs))
        if not isinstance(heads, Iterable):
            raise UnknownHead(
                f"heads: found {type(heads).__name__}, expected names of {', '.join(self._specs)}."
            )
        asked = [heads] if isinstance(heads, str) else list(heads)
        for name in asked:
            self._known(name)
        return by_kind([name for name in self._specs if name in asked])

    def _known(self, name: object) -> None:
        if not isinstance(name, str) or name not in self._specs:
            raise UnknownHead(
                f"no head {name!r}; this engine has {', '.join(self._specs)}."
                + nearest(str(name), self._specs)
            )

    def _check_kinds(
        self, encodings: Sequence[Encoding], wanted: Mapping[str, Sequence[str]], *, by_name: bool
    ) -> None:
        """Refuse inputs that a wanted head does not read, or that no head reads."""
        for index, encoding in enumerate(encodings):
            kind = encoding.kind
            others = [name for other, names in wanted.items() if other != kind for name in names]
            if others and (by_name or not wanted[kind]):
                raise WrongInput(
                    f"input {index}: found {_SHOWN[kind]}, but the head {others[0]!r} reads"
                    f" {_SHOWN[self._specs[others[0]].input]}.",
                    index=index,
                )

    def _options(self, options: Options) -> Options:
        """The options, checked for unknown names."""
        if not isinstance(options, Mapping):
            raise InvalidSetting(
                f"options: found {type(options).__name__}, expected settings by head, as in"
                " {'summary': {'k': 2}}."
            )
        for head, settings in options.items():
            self._known(head)
            if not isinstance(settings, Mapping):
                raise InvalidSetting(
                    f"options: found {type(settings).__name__} for the head {head!r}, expected"
                    " values by option, as in {'summary': {'k': 2}}."
                )
            allowed = tuple(getattr(self._decoders[head], "options", ()))
            for name in settings:
                if name not in allowed:
                    raise InvalidSetting(
                        f"options: the head {head!r} has no option {name!r}; allowed:"
                        f" {', '.join(allowed) or 'none'}.{nearest(str(name), allowed)}"
                    )
        return options


def load(
    path: str | Path,
    *,
    threads: int | None = None,
    batch_tokens: int = 256,
    on_overflow: OnOverflow = "window",
) -> Engine:
    """Load a bundle, check its digests, and make an engine on the CPU.

    Args:
        path: the bundle's folder.
        threads: upper limit of worker threads; None for all that the process may use.
        batch_tokens: most tokens in one call of onnxruntime.
        on_overflow: what happens to a text longer than the encoder reads: ``"window"`` reads it in
            parts that overlap; ``"truncate"`` leaves the end out, and the prediction says so;
            ``"error"`` raises `TextTooLong`. The first text of a pair is never cut.

    Raises:
        BundleError: when the bundle cannot be read or trusted.
        InvalidSetting: when a setting is out of its range.
    """
    bundle = read(path)
    manifest = bundle.manifest
    graph = manifest.graphs[0]
    session = OnnxSession(bundle.file(graph))
    specs = {name: spec for name, spec in manifest.heads.items() if name in graph.heads}
    _check_names(graph.file, graph.inputs, session.inputs, "inputs")
    _check_names(graph.file, [s.output for s in specs.values()], session.outputs, "outputs")
    _check_widths(graph.file, specs, session.widths)
    return Engine(
        session,
        Tokenizer.from_file(bundle.file(manifest.tokenizer)),
        specs,
        max_tokens=manifest.encoder.max_tokens,
        threads=threads,
        batch_tokens=batch_tokens,
        on_overflow=on_overflow,
        source=str(bundle.path),
    )


def _check_widths(file: str, specs: Mapping[str, HeadSpec], widths: Mapping[str, object]) -> None:
    for name, spec in specs.items():
        found, expected = widths[spec.output], decoder(name, spec).width
        if expected is not None and isinstance(found, int) and found != expected:
            raise GraphError(
                f"{file}: head {name!r} has {found} logits, but its {len(spec.labels)} labels need"
                f" {expected}. Export the bundle again."
            )


def _check_names(file: str, declared: Iterable[str], found: Iterable[str], what: str) -> None:
    if sorted(declared) != sorted(found):
        raise GraphError(
            f"{file}: its {what} are {sorted(found)}, but the manifest declares"
            f" {sorted(declared)}. Export the bundle again."
        )
