"""Learning curves of a training run as a PNG, drawn without a display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_DPI = 120
_COLOURS = list(mpl.color_sequences["tab10"])
_LINES = ("-", "--", ":", "-.")
_GREY = "0.55"


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
    _loss(panels[0], history)
    if watched:
        _metrics(panels[1], watched)
        figure.legend(*panels[1].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    for axes in panels:
        axes.axvline(best_epoch, color=_GREY, linewidth=0.8, linestyle=":")
        axes.set_xlabel(f"epoch (dotted: the one that is kept, {best_epoch})")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
    return png(figure)


def _loss(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    known = [entry for entry in history if "loss" in entry]
    axes.plot(
        [e["epoch"] for e in known], [e["loss"] for e in known], color="black", marker=".", ms=5
    )
    axes.set_title("training loss", fontsize=10)


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


def png(figure: Figure) -> bytes:
    """A figure as a PNG file, the same bytes for the same figure."""
    FigureCanvasAgg(figure)
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
        return file.getvalue()
