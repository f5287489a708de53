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
_Declared = tuple[str, tuple[int | None, ...]]
"""Type and shape of an input or output; None for any size."""


class DecoderSessions:
    """Two sessions, as a `StepBackend`; may be called from many threads, and after a fork."""

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
        self._probe(hidden, f"{step.file}: the step graph of the head {head!r}")

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

    def _probe(self, hidden: int, where: str) -> None:
        """Two steps: sizes that a graph does not declare are those of its arrays."""
        spec = self._spec
        cross = self.cross(np.zeros((1, 2, hidden), np.float32))
        shape = 1, spec.heads, 2, spec.head_size
        if any(array.shape != shape for array in cross):
            raise GraphError(
                f"{self._cross.file}: gives arrays of the shape {cross[0].shape}, expected {shape}."
                " Export the bundle again."
            )
        past = [np.empty((1, spec.heads, 0, spec.head_size), np.float32) for _ in cross]
        source = np.array([[-1, spec.start]]) if spec.copies else None
        for count in (1, 2):
            present = [
                np.full((1, spec.heads, count, spec.head_size), np.nan, np.float32) for _ in cross
            ]
            scores, _ = self.step(np.array([[spec.start]]), past, cross, source, present)
            if np.isnan(scores).any() or any(np.isnan(array).any() for array in present):
                raise GraphError(f"{where} gives no numbers for zeros. Export the bundle again.")
            past = present


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
