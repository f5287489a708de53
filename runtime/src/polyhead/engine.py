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
    nearest,
)
from polyhead.grouping import groups
from polyhead.heads import HeadSpec, decoder
from polyhead.prediction import Prediction
from polyhead.session import Backend, OnnxSession
from polyhead.tokenizing import Encoding, Tokenizer

OnOverflow = Literal["error", "truncate"]
_ON_OVERFLOW = ("error", "truncate")


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
        on_overflow: OnOverflow = "error",
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
            on_overflow: what happens to a text of more than `max_tokens`: a `TextTooLong` error,
                or the end is left out and the prediction says so.
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
        self._source = source
        self._pool: ThreadPoolExecutor | None = None
        if self._threads > 1:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="polyhead")
        self._closed = False

    @property
    def heads(self) -> dict[str, HeadSpec]:
        """The heads by name, in the order of results."""
        return dict(self._specs)

    def __call__(self, text: str, *, heads: Iterable[str] | None = None) -> Prediction:
        """Answer one text.

        Args:
            text: any string; the empty string is answered too.
            heads: names of the wanted heads; None for all.

        Raises:
            InputError: when the text or a head name cannot be used; see `polyhead.errors`.
            EngineClosed: after `close`.
        """
        return self.predict([text], heads=heads)[0]

    def predict(
        self, texts: Sequence[str], *, heads: Iterable[str] | None = None
    ) -> list[Prediction]:
        """Answer many texts; results stand in the order of `texts`, an empty list gives one.

        A text's answer does not depend on the other texts of the call: texts are never padded.

        Raises:
            InputError: when any text or head name cannot be used, before anything is computed;
                names the index.
            EngineClosed: after `close`.
        """
        encodings, wanted, logits = self._compute(texts, heads)
        return [
            Prediction(
                text=encoding.text,
                results={n: self._decoders[n].decode(logits[n][i], encoding) for n in wanted},
                tokens=len(encoding),
                truncated=encoding.truncated,
            )
            for i, encoding in enumerate(encodings)
        ]

    def logits(
        self, texts: Sequence[str], *, heads: Iterable[str] | None = None
    ) -> dict[str, list[NDArray[np.float32]]]:
        """The raw logits by head, one array a text, in the order of `texts`.

        Shapes are `(labels,)`, `(1,)`, `(hidden,)` or `(tokens, tags)` by the head's kind. Raises
        what `predict` raises.
        """
        return self._compute(texts, heads)[2]

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Token ids and offsets of `texts` as the encoder reads them, over-long texts handled.

        Raises:
            InputError: when a text cannot be used; names its index.
        """
        encodings = self.tokenizer.encode(texts)
        if self._on_overflow == "truncate":
            return [encoding.cut(self._max_tokens) for encoding in encodings]
        for index, encoding in enumerate(encodings):
            if len(encoding) > self._max_tokens:
                raise TextTooLong(
                    f"input {index}: {len(encoding):,} tokens; this encoder reads"
                    f" {self._max_tokens:,}. Split the text, or load with on_overflow='truncate'"
                    " to leave the end out.",
                    index=index,
                )
        return encodings

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

    def _compute(
        self, texts: Sequence[str], heads: Iterable[str] | None
    ) -> tuple[list[Encoding], list[str], dict[str, list[NDArray[np.float32]]]]:
        if self._closed:
            raise EngineClosed("This engine was closed. Load the bundle again with polyhead.load.")
        if isinstance(texts, str | bytes | bytearray) or not isinstance(texts, Sequence):
            raise InvalidText(
                f"texts: found {type(texts).__name__}, expected a list of str."
                " For one text call engine(text)."
            )
        wanted = self._wanted(heads)
        encodings = self.encode(texts)
        logits: dict[str, list[NDArray[np.float32]]] = {
            name: [np.empty(0, np.float32)] * len(encodings) for name in wanted
        }
        if not wanted:
            return encodings, wanted, logits
        outputs = [self._specs[name].output for name in wanted]

        def run(group: list[int]) -> None:
            ids = np.stack([encodings[i].ids for i in group])
            arrays = self._backend.run(outputs, {"input_ids": ids})
            for name, array in zip(wanted, arrays, strict=True):
                for row, index in enumerate(group):
                    logits[name][index] = array[row]

        jobs = groups([len(e) for e in encodings], self._batch_tokens)
        if self._pool is None or len(jobs) < 2:
            for job in jobs:
                run(job)
        else:
            list(self._pool.map(run, jobs))
        return encodings, wanted, logits

    def _wanted(self, heads: Iterable[str] | None) -> list[str]:
        if heads is None:
            return list(self._specs)
        if not isinstance(heads, Iterable):
            raise UnknownHead(
                f"heads: found {type(heads).__name__}, expected names of {', '.join(self._specs)}."
            )
        asked = [heads] if isinstance(heads, str) else list(heads)
        for name in asked:
            if not isinstance(name, str) or name not in self._specs:
                raise UnknownHead(
                    f"no head {name!r}; this engine has {', '.join(self._specs)}."
                    + nearest(str(name), self._specs)
                )
        return [name for name in self._specs if name in asked]


def load(
    path: str | Path,
    *,
    threads: int | None = None,
    batch_tokens: int = 256,
    on_overflow: OnOverflow = "error",
) -> Engine:
    """Load a bundle, check its digests, and make an engine on the CPU.

    Args:
        path: the bundle's folder.
        threads: upper limit of worker threads; None for all that the process may use.
        batch_tokens: most tokens in one call of onnxruntime.
        on_overflow: what happens to a text longer than the encoder reads: ``"error"`` raises
            `TextTooLong`; ``"truncate"`` leaves the end out, and the prediction says so.

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
