"""Times every alternative of every pattern inside the whole graph of a bundle.

A pattern is timed where it stands, between its neighbours, since an operator that is fast alone may
leave its result badly for the next. All graphs of a pattern run in one process, one thread, in
turns; the ratio of the medians of pairs is what counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from polyhead_export import rewrites
from polyhead_export.errors import ProbeError
from polyhead_export.layout import BUILT_IN, Layout, Pattern
from polyhead_export.probe.timing import Feeds, in_turns, session

SHAPES = ((1, 16), (1, 128))
MARGIN = 0.02
_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One alternative at one shape.

    Attributes:
        pattern: what it stands for.
        alternative: its name.
        shape: batch and tokens.
        milliseconds: median of a call of the whole graph.
        ratio: its time over that of the built-in choice, the median of rounds.
        interval: bootstrap 95% interval of `ratio`.
        exact: whether it computes the same function.
        writable: whether the runtime would run it as it is.
        difference: largest absolute difference of an output from the built-in choice's.
    """

    pattern: Pattern
    alternative: str
    shape: tuple[int, int]
    milliseconds: float
    ratio: float
    interval: tuple[float, float]
    exact: bool
    writable: bool
    difference: float


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What was found.

    Attributes:
        timings: of all alternatives that the graph has a place for.
        best: the layout that is best here: the built-in choice, unless a writable alternative wins
            at every shape by more than the margin.
    """

    timings: tuple[Timing, ...]
    best: Layout

    @property
    def built_in_is_best(self) -> bool:
        """Whether no alternative won."""
        return self.best == BUILT_IN


def probe(
    model: ir.Model,
    *,
    shapes: Sequence[tuple[int, int]] = SHAPES,
    rounds: int = 40,
    margin: float = MARGIN,
    seed: int = 0,
    note: Callable[[str], None] = lambda _: None,
) -> Probe:
    """Time the alternatives of an `ort-cpu` graph in the built-in layout.

    Args:
        model: the graph; it stays as it is.
        shapes: batch and tokens, at least one.
        rounds: calls of each graph at each shape.
        margin: what an alternative must win at least, as a share of the time.
        seed: of tokens and bootstrap.
        note: called with the name of each pattern.

    Raises:
        ProbeError: when the graph has no int8 linears.
    """
    if not any(node.op_type == "MatMulIntegerToFloat" for node in model.graph):
        raise ProbeError(
            "the graph has no MatMulIntegerToFloat: only int8 graphs for onnxruntime's CPU"
            " provider have layouts to choose from. Export with --precision int8."
        )
    timings: list[Timing] = []
    best = BUILT_IN
    for pattern in rewrites.ALTERNATIVES:
        note(f"timing {pattern}")
        found = _pattern(model, pattern, shapes, rounds, seed)
        timings += found
        if (winner := _winner(found, BUILT_IN.choice(pattern), margin)) is not None:
            best = replace(best, **{pattern: winner})
    return Probe(timings=tuple(timings), best=best)


def _pattern(
    model: ir.Model,
    pattern: Pattern,
    shapes: Sequence[tuple[int, int]],
    rounds: int,
    seed: int,
) -> list[Timing]:
    built_in = rewrites.find(pattern, BUILT_IN.choice(pattern))
    others = [a for a in rewrites.ALTERNATIVES[pattern] if a.name != built_in.name]
    candidates, sessions = [built_in], [session(model, built_in.keep_out)]
    for alternative in others:
        copy = model.clone()
        if rewrites.apply(copy, replace(BUILT_IN, **{pattern: alternative.name})):
            candidates.append(alternative)
            sessions.append(session(copy, alternative.keep_out))
    found = []
    for shape in shapes:
        feeds = _feeds(model, shape, seed)
        times = in_turns(sessions, feeds, rounds=rounds)
        reference = sessions[0].run(None, feeds)
        for index, alternative in enumerate(candidates):
            outputs = sessions[index].run(None, feeds)
            ratios = times[index] / times[0]
            found.append(
                Timing(
                    pattern=pattern,
                    alternative=alternative.name,
                    shape=shape,
                    milliseconds=float(np.median(times[index])),
                    ratio=float(np.median(ratios)),
                    interval=_interval(ratios, seed),
                    exact=alternative.exact,
                    writable=alternative.writable,
                    difference=max(
                        float(np.abs(a - b).max()) for a, b in zip(outputs, reference, strict=True)
                    ),
                )
            )
    return found


def _winner(found: Sequence[Timing], built_in: str, margin: float) -> str | None:
    """The writable alternative that wins at every shape, beyond margin and noise."""
    ratios: dict[str, list[float]] = {}
    for timing in found:
        if timing.writable and timing.alternative != built_in:
            clear = timing.interval[1] < 1 - margin
            ratios.setdefault(timing.alternative, []).append(timing.ratio if clear else np.inf)
    means = {name: float(np.mean(values)) for name, values in ratios.items()}
    winner = min(means, key=lambda name: means[name], default=None)
    return winner if winner is not None and np.isfinite(means[winner]) else None


def _feeds(model: ir.Model, shape: tuple[int, int], seed: int) -> Feeds:
    """Small token ids, one segment, nothing masked."""
    ids = np.random.default_rng(seed).integers(5, 100, shape, dtype=np.int64)
    known = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return {str(v.name): known.get(str(v.name), np.zeros_like(ids)) for v in model.graph.inputs}


def _interval(ratios: NDArray[np.float64], seed: int) -> tuple[float, float]:
    random = np.random.default_rng(seed)
    draws = random.choice(ratios, size=(_RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return float(low), float(high)
