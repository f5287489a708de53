"""The picture of a model card: both models' metrics, and what the export changed."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from polyhead.bundle import Gate, HeadQuality
from polyhead_export.temperatures import TemperedHead
from polyhead_models.plots import png

_COLOURS = list(mpl.color_sequences["tab10"])
_GREY = "0.55"


def quality(
    heads: Mapping[str, HeadQuality], gate: Gate, scored: Mapping[str, TemperedHead]
) -> bytes:
    """Metric of each head, its drop, its changed decisions, and how often scores are right.

    Args:
        heads: what was measured; a head without a metric has changed decisions only.
        gate: the limits, drawn as broken lines.
        scored: by head, those whose scores are right or wrong.

    Returns:
        A PNG file.
    """
    widths = (1, 1, 1.2, 1.2) if scored else (1, 1, 1.2)
    size = 3.5 * sum(widths), max(3.2, 1.6 + 0.4 * len(heads))
    figure = Figure(figsize=size, layout="constrained")
    metrics, drops, changed, *last = figure.subplots(1, len(widths), width_ratios=widths)
    for row, found in enumerate(heads.values()):
        if found.drop is not None:
            metrics.plot([found.fp32 or 0.0], [row], "o", ms=7, mfc="none", color="black")
            metrics.plot([found.exported or 0.0], [row], "o", ms=4, color=_COLOURS[0])
            _bounded(drops, row, found.drop, found.drop_interval)
        low, high = found.changed_interval or (0.0, 0.0)
        _bounded(changed, row, 100 * (found.changed or 0.0), (100 * low, 100 * high))
    labels = [f"{name}\n{found.metric or ''}" for name, found in heads.items()]
    metrics.set_yticks(range(len(heads)), labels, fontsize=8)
    metrics.set_xlim(min(0.0, *(found.exported or 0.0 for found in heads.values()), 0.0), 1.02)
    metrics.set_title("ring: PyTorch, dot: this graph", fontsize=10)
    drops.axvline(0, color=_GREY, linewidth=0.8)
    drops.set_title("drop in points, 95% bounds", fontsize=10)
    changed.set_title("decisions changed in %, 95% bounds", fontsize=10)
    for axes, limit in ((drops, gate.max_drop), (changed, gate.max_flips)):
        axes.axvline(limit, color=_COLOURS[3], linewidth=1, linestyle="--", label="limit")
        axes.set_yticks(range(len(heads)), [""] * len(heads))
    changed.legend(fontsize=7, loc="lower right")
    for axes in (metrics, drops, changed):
        axes.set_ylim(max(len(heads), 1) - 0.5, -0.5)
        axes.grid(axis="x", alpha=0.25)
    for axes in last:
        _reliability(axes, scored)
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


def _bounded(axes: Axes, row: int, value: float, bounds: tuple[float, ...] | None) -> None:
    # A line and a point, not an error bar: a percentile interval need not hold the metric itself.
    low, high = bounds or (value, value)
    axes.hlines(row, low, high, color="black")
    axes.plot([value], [row], "o", ms=4, color="black")
