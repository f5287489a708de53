"""The picture of a model card: both models' metrics, and how far the logits are off."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from polyhead.bundle import HeadQuality
from polyhead_export.temperatures import TemperedHead
from polyhead_models.plots import png

_COLOURS = list(mpl.color_sequences["tab10"])
_GREY = "0.55"
_BINS = 40
# What float32 itself gives away; smaller errors are shown as this.
_SMALLEST = 1e-7


def quality(
    heads: Mapping[str, HeadQuality],
    logit_errors: Mapping[str, NDArray[np.float32]],
    scored: Mapping[str, TemperedHead],
) -> bytes:
    """Metric of each head, its drop, logit errors, and how often scores are right.

    Args:
        heads: what was measured, with intervals; heads without a metric are in the histogram only.
        logit_errors: absolute differences by head, float32 `(logits,)`.
        scored: by head, those whose scores are right or wrong.

    Returns:
        A PNG file.
    """
    known = {name: found for name, found in heads.items() if found.drop is not None}
    widths = (1, 1, 1.2, 1.2) if scored else (1, 1, 1.2)
    size = 3.5 * sum(widths), max(3.2, 1.6 + 0.4 * len(known))
    figure = Figure(figsize=size, layout="constrained")
    left, middle, right, *last = figure.subplots(1, len(widths), width_ratios=widths)
    for row, found in enumerate(known.values()):
        _head(left, middle, row, found)
    labels = [f"{name}\n{found.metric}" for name, found in known.items()]
    left.set_yticks(range(len(known)), labels, fontsize=8)
    left.set_xlim(min(0.0, *(found.exported or 0.0 for found in known.values()), 0.0), 1.02)
    left.set_title("ring: PyTorch, dot: this graph", fontsize=10)
    middle.set_yticks(range(len(known)), [""] * len(known))
    middle.axvline(0, color=_GREY, linewidth=0.8)
    middle.set_title("drop in points, 95% interval", fontsize=10)
    _errors(right, logit_errors)
    for axes in last:
        _reliability(axes, scored)
    for axes in (left, middle):
        axes.set_ylim(max(len(known), 1) - 0.5, -0.5)
    for axes in (left, middle, right):
        axes.grid(axis="x", alpha=0.25)
    return png(figure)


def _reliability(axes: Axes, scored: Mapping[str, TemperedHead]) -> None:
    """Reliability diagram: the share that is right over the mean score, bin by bin."""
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8)
    for i, (name, head) in enumerate(scored.items()):
        sides = [(head.before, ":", None), (head.after, "-", f"scores of {name}")]
        for judged, line, label in sides:
            _, scores, right = zip(*judged.bins, strict=True)
            colour = _COLOURS[i % len(_COLOURS)]
            axes.plot(scores, right, line, marker=".", ms=4, color=colour, label=label)
    axes.set_title("right at a score; dotted: before temperature", fontsize=10)
    axes.legend(fontsize=7)


def _head(metrics: Axes, drops: Axes, row: int, found: HeadQuality) -> None:
    metrics.plot([found.fp32 or 0.0], [row], "o", ms=7, mfc="none", color="black")
    metrics.plot([found.exported or 0.0], [row], "o", ms=4, color=_COLOURS[0])
    drop = found.drop or 0.0
    # A line and a point, not an error bar: a percentile interval need not hold the metric itself.
    low, high = found.drop_interval or (drop, drop)
    drops.hlines(row, low, high, color="black")
    drops.plot([drop], [row], "o", ms=4, color="black")


def _errors(axes: Axes, logit_errors: Mapping[str, NDArray[np.float32]]) -> None:
    shown = {name: np.maximum(e, _SMALLEST) for name, e in logit_errors.items() if e.size}
    largest = max((float(errors.max()) for errors in shown.values()), default=1.0)
    bins = np.geomspace(_SMALLEST, max(largest, 10 * _SMALLEST) * 1.01, _BINS)
    for i, (name, errors) in enumerate(shown.items()):
        weights = np.full(errors.shape, 100 / errors.size)
        axes.hist(
            errors,
            bins=bins.tolist(),
            weights=weights,
            histtype="step",
            color=_COLOURS[i % len(_COLOURS)],
            linestyle=("-", "--", ":")[i // len(_COLOURS) % 3],
            label=f"logits of {name}",
        )
    axes.set_xscale("log")
    axes.set_ylabel("% of logits", fontsize=8)
    axes.set_title("absolute logit error", fontsize=10)
    if shown:
        axes.legend(fontsize=7)
