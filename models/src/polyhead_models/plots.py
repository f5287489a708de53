"""Pictures as PNG files, drawn without a display: learning curves, and labels one by one."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from polyhead.system.shorten import cut
from polyhead_models.metrics.labels import LabelReport

_DPI = 120
_COLOURS = list(mpl.color_sequences["tab10"])
_LINES = ("-", "--", ":", "-.")
_GREY = "0.55"
_MOST_BARS = 20
_LONGEST_NAME = 30


def learning_curves(history: Sequence[Mapping[str, Any]], *, best_epoch: int) -> bytes:
    """Training loss and, with validation data, the primary metric of each head, by epoch.

    Args:
        history: as in `metrics.json`: an entry an epoch, at least one.
        best_epoch: marked by a line.

    Returns:
        A PNG file.
    """
    watched = [entry for entry in history if entry.get("validation")]
    figure = Figure(figsize=(10 if watched else 5, 3.6), layout="constrained")
    panels = figure.subplots(1, 2 if watched else 1, squeeze=False)[0]
    known = [entry for entry in history if "loss" in entry]
    epochs, losses = [e["epoch"] for e in known], [e["loss"] for e in known]
    panels[0].plot(epochs, losses, color="black", marker=".", ms=5)
    panels[0].set_title("training loss", fontsize=10)
    if watched:
        _metrics(panels[1], watched)
        figure.legend(*panels[1].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    for axes in panels:
        axes.axvline(best_epoch, color=_GREY, linewidth=0.8, linestyle=":")
        axes.set_xlabel(f"epoch (dotted: the one that is kept, {best_epoch})")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
    return png(figure)


def _metrics(axes: Axes, watched: Sequence[Mapping[str, Any]]) -> None:
    heads = list(dict.fromkeys(name for entry in watched for name in entry["validation"]))
    for i, head in enumerate(heads):
        known = [entry for entry in watched if head in entry["validation"]]
        axes.plot(
            [entry["epoch"] for entry in known],
            [entry["validation"][head]["value"] for entry in known],
            color=_COLOURS[i % len(_COLOURS)],
            linestyle=_LINES[i // len(_COLOURS) % len(_LINES)],
            marker=".",
            ms=5,
            # The metric goes first: a label with "_" at its head would not be shown.
            label=f"{known[0]['validation'][head]['metric']} of {head}",
        )
    axes.set_title("validation", fontsize=10)


def labels(heads: Mapping[str, LabelReport]) -> bytes:
    """A row a head: F1, precision and recall of its worst labels, and its most frequent confusions.

    Args:
        heads: at least one.

    Returns:
        A PNG file.
    """
    bars = [min(_MOST_BARS, max(1, len(report.worst_first()))) for report in heads.values()]
    heights = [1.2 + 0.22 * count for count in bars]
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    panels = figure.subplots(len(heads), 2, squeeze=False, height_ratios=heights)
    for (name, report), (left, right) in zip(heads.items(), panels, strict=True):
        shown = report.worst_first()[:_MOST_BARS]
        _bars(
            left,
            [(f"{cut(label, _LONGEST_NAME)}  ({f.support})", f.f1) for label, f in shown],
            _COLOURS[0],
        )
        rows = range(len(shown))
        left.plot([f.precision for _, f in shown], rows, "|", color="black", ms=7)
        left.plot([f.recall for _, f in shown], rows, ".", color="black", ms=7)
        left.set_xlim(0, 1.02)
        title = f"{name}: F1 (bar), precision (line), recall (dot) of labels, the lowest first"
        left.set_title(title, fontsize=9, parse_math=False)
        pairs = [
            (" → ".join(cut(side, _LONGEST_NAME) for side in confusion.shown()), confusion.count)
            for confusion in report.confusions[:_MOST_BARS]
        ]
        _bars(right, pairs, _COLOURS[1])
        right.xaxis.set_major_locator(MaxNLocator(integer=True))
        right.set_title("gold → answer, how often", fontsize=9)
    return png(figure)


def _bars(axes: Axes, bars: Sequence[tuple[str, float]], colour: Any) -> None:
    axes.barh(range(len(bars)), [value for _, value in bars], color=colour, height=0.6)
    names = [" ".join(name.split("\n")) for name, _ in bars]
    axes.set_yticks(range(len(bars)), names, fontsize=7, parse_math=False)
    axes.set_ylim(max(len(bars), 1) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.25)


def png(figure: Figure) -> bytes:
    """A figure as a PNG file, the same bytes for the same figure."""
    FigureCanvasAgg(figure)
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
        return file.getvalue()
