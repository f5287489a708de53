"""A decoder's two graphs, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.generation import Generation
from polyhead.errors import GraphError
from polyhead.inference.generation.backend import Floats, names
from polyhead.inference.session import OnnxSession

_FLOAT, _INT = "tensor(float)", "tensor(int64)"
_ROWS = 5  # of which kernels compute some in another way than one
_MOST_BYTES = 2**28  # of caches that are made to try whether a graph writes so many tokens
_Declared = tuple[str, tuple[int | None, ...]]
"""Type and shape of an input or output; None for any size."""


class DecoderSessions:
    """Two sessions, as a `StepBackend`; may be called from many threads, and after a fork.

    Attributes:
        rows_alike: whether an answer's numbers do not depend on the others in its steps.
    """

    def __init__(
        self, spec: Generation, cross: OnnxSession, step: OnnxSession, *, hidden: int, head: str
    ) -> None:
        """Check the graphs against what the head says of its decoder, and run them once.

        Args:
            spec: of the decoder.
            cross: the graph that makes what is attended to.
            step: the graph of a step.
            hidden: width of the encoder's states.
            head: for messages.

        Raises:
            GraphError: when names, types or shapes of inputs or outputs are others.
        """
        self._spec, self._cross, self._step = spec, cross, step
        self._past, self._present = names(spec, "past"), names(spec, "present")
        self._attended = names(spec, "cross")
        cache: _Declared = _FLOAT, (None, spec.heads, None, spec.head_size)
        inputs: dict[str, _Declared] = {"tokens": (_INT, (None, None))}
        inputs |= dict.fromkeys([*self._past, *self._attended], cache)
        outputs: dict[str, _Declared] = {"scores": (_FLOAT, (None, spec.vocabulary))}
        outputs |= dict.fromkeys(self._present, cache)
        if spec.copies:
            inputs["source"], outputs["copied"] = (_INT, (None, None)), (_FLOAT, (None, None))
        states: dict[str, _Declared] = {"states": (_FLOAT, (None, None, hidden))}
        for session, own, taken, given in (
            (cross, "cross", states, dict.fromkeys(self._attended, cache)),
            (step, "step", inputs, outputs),
        ):
            where = f"{session.file}: the {own} graph of the head {head!r}"
            _check(where, "inputs", taken, session.inputs, session)
            _check(where, "outputs", given, session.outputs, session)
        self.rows_alike = self._probe(hidden)
        self._check_last_token(hidden)

    def cross(self, states: Floats) -> list[Floats]:
        """See `StepBackend.cross`."""
        return self._cross.run(self._attended, {"states": states})

    def step(
        self,
        tokens: NDArray[np.int64],
        past: Sequence[Floats],
        cross: Sequence[Floats],
        source: NDArray[np.int64] | None,
        present: Sequence[Floats],
    ) -> tuple[Floats, Floats | None]:
        """See `StepBackend.step`."""
        scores = np.empty((len(tokens), self._spec.vocabulary), np.float32)
        feeds: dict[str, NDArray[Any]] = {
            "tokens": tokens,
            **dict(zip(self._past, past, strict=True)),
            **dict(zip(self._attended, cross, strict=True)),
        }
        filled: dict[str, Floats] = {
            "scores": scores,
            **dict(zip(self._present, present, strict=True)),
        }
        copied = None
        if source is not None:
            copied = np.empty(source.shape, np.float32)
            feeds["source"], filled["copied"] = source, copied
        self._step.fill(filled, feeds)
        return scores, copied

    def info(self) -> dict[str, Any]:
        """See `StepBackend.info`."""
        return {**self._step.info(), "cross": self._cross.file.name, "step": self._step.file.name}

    def _probe(self, hidden: int) -> bool:
        """Whether rows have the same bits alone and with others, in two steps of random sources.

        It also finds out sizes that a graph does not declare.
        """
        random = np.random.default_rng(0)
        states = random.normal(size=(_ROWS, 3, hidden)).astype(np.float32)
        tokens = random.integers(self._spec.vocabulary, size=(2, _ROWS, 1))
        both = self._two_steps(states, tokens)
        for row in (0, _ROWS - 1):
            own = slice(row, row + 1)
            alone = self._two_steps(states[own], tokens[:, own])
            if not all(np.array_equal(a[own], b) for a, b in zip(both, alone, strict=True)):
                return False
        return True

    def _empty(self, rows: int, tokens: int) -> list[Floats]:
        """Caches that nothing has filled."""
        shape = rows, self._spec.heads, tokens, self._spec.head_size
        return [np.full(shape, np.nan, np.float32) for _ in self._past]

    def _check_last_token(self, hidden: int) -> None:
        """Whether a graph has a position for the last token of the longest answer."""
        spec = self._spec
        if spec.token_bytes * spec.max_tokens > _MOST_BYTES:
            return
        cross = self.cross(np.zeros((1, 1, hidden), np.float32))
        past, present = self._empty(1, spec.max_tokens - 1), self._empty(1, spec.max_tokens)
        token = np.array([[spec.start]])
        try:
            self.step(token, past, cross, token if spec.copies else None, present)
        except GraphError as problem:
            raise GraphError(
                f"{self._step.file}: cannot write max_tokens={spec.max_tokens:,} tokens, as the"
                f" head says: {problem}"
            ) from problem

    def _two_steps(self, states: Floats, tokens: NDArray[np.int64]) -> list[Floats]:
        """All that the graphs give; their outputs are checked."""
        spec, rows = self._spec, len(states)
        cross = self.cross(states)
        shape = rows, spec.heads, states.shape[1], spec.head_size
        if any(array.shape != shape for array in cross):
            raise GraphError(
                f"{self._cross.file}: gives arrays of the shape {cross[0].shape}, expected {shape}."
                " Export the bundle again."
            )
        source = tokens[0].repeat(states.shape[1], axis=1) if spec.copies else None
        past, found = self._empty(rows, 0), [*cross]
        for count, own in enumerate(tokens, 1):
            present = self._empty(rows, count)
            scores, _ = self.step(np.ascontiguousarray(own), past, cross, source, present)
            if np.isnan(scores).any() or any(np.isnan(array).any() for array in present):
                raise GraphError(
                    f"{self._step.file}: gives nan for a source of random numbers. Its weights are"
                    " at fault: train or export again."
                )
            found += [scores, *present]
            past = present
        return found


def _check(
    where: str,
    what: str,
    expected: dict[str, _Declared],
    found: Sequence[str],
    session: OnnxSession,
) -> None:
    if sorted(found) != sorted(expected):
        raise GraphError(
            f"{where} has the {what} {sorted(found)}, expected {sorted(expected)}. Export the"
            " bundle again."
        )
    for name, (kind, sizes) in expected.items():
        shape = session.shapes[name]
        fits = len(shape) == len(sizes) and all(
            size is None or not isinstance(own, int) or own == size
            for own, size in zip(shape, sizes, strict=True)
        )
        if session.types[name] != kind or not fits:
            raise GraphError(
                f"{where} has {name!r} of the type {session.types[name]} and the shape"
                f" {list(shape)}, expected {kind} and {[size or 'any' for size in sizes]}. Export"
                " the bundle again."
            )
