"""Pictures of a run, as SVG. Colours are told apart with any eyes (Okabe & Ito 2008)."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from polyhead_bench import statistics
from polyhead_bench.metrics import best_schedule
from polyhead_bench.results import Results

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C00")
_MARKERS = "osD^vPX*"
_LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Picture:
    """One plot.

    Attributes:
        name: of its file, without an ending.
        caption: what it shows, with model, threads and CPU.
        svg: the picture.
    """

    name: str
    caption: str
    svg: str


def pictures(results: Results) -> list[Picture]:
    """All that the results have figures for."""
    drawn = []
    for name, (scenario, about, draw) in _PICTURES.items():
        if results.scenarios.get(scenario):
            figure = Figure(figsize=(7.2, 4.2), layout="constrained")
            axes = figure.subplots()
            draw(axes, results)
            axes.grid(alpha=0.25, which="both")
            if axes.get_legend_handles_labels()[1]:
                figure.legend(loc="outside right upper", fontsize=8)
            drawn.append(Picture(name, f"{about} {_circumstances(results)}", _svg(figure)))
    return drawn


def _circumstances(results: Results) -> str:
    cpu = results.machine["cpu"]["model"]
    heads = ", ".join(results.model["heads"])
    return (
        f"{results.model['name']}, heads: {heads}; {results.threads} threads each; {cpu};"
        f" {results.texts['about']}; {results.rounds} rounds."
    )


def _style(results: Results, name: str) -> dict[str, Any]:
    index = list(results.peers).index(name)
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _LINES[index // len(_COLOURS) % len(_LINES)],
    }


def _lengths(axes: Axes, results: Results) -> None:
    for name, row in results.scenarios["lengths"].items():
        tokens = [int(n) for n in row["ms"]]
        middle = [float(np.median(times)) for times in row["ms"].values()]
        axes.plot(tokens, middle, label=name, markersize=4, **_style(results, name))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    _logarithmic(axes, "y")
    axes.set_xlabel("tokens in the text")
    axes.set_ylabel("latency, ms (median)")


def _cdf(axes: Axes, results: Results) -> None:
    for name, row in results.scenarios["single"].items():
        times = np.sort(np.concatenate(row["ms"]))
        style = {**_style(results, name), "marker": ""}
        axes.plot(times, np.arange(1, len(times) + 1) / len(times), label=name, **style)
    _logarithmic(axes, "x")
    axes.set_xlabel("latency of one text, ms")
    axes.set_ylabel("share of texts answered within")
    axes.set_ylim(0, 1)


def _throughput(axes: Axes, results: Results) -> None:
    found = results.scenarios["offline"]
    names = [name for name, row in found.items() if row["seconds"]]
    for place, name in enumerate(names):
        seconds = found[name]["seconds"][best_schedule(found[name])]
        rate = statistics.median(results.texts["count"] / np.asarray(seconds, float))
        error = [[rate.value - rate.low], [rate.high - rate.value]]
        color = _style(results, name)["color"]
        axes.barh(place, rate.value, xerr=error, color=color, capsize=3)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("texts per second, best schedule (bars: 95% interval)")


def _heads(axes: Axes, results: Results) -> None:
    for name, row in results.scenarios["heads"].items():
        if "1" not in row["ms"]:
            continue
        first = float(np.median(row["ms"]["1"]))
        counts = [int(n) for n in row["ms"]]
        times = [float(np.median(t)) / first for t in row["ms"].values()]
        axes.plot(counts, times, label=name, **_style(results, name))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("heads")
    axes.set_ylabel("time of a text, one head = 1")


def _logarithmic(axes: Axes, name: str) -> None:
    """Makes the axis x or y logarithmic, with plain numbers at 1, 2 and 5."""
    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


_PICTURES: Mapping[str, tuple[str, str, Callable[[Axes, Results], None]]] = {
    "latency": ("lengths", "Latency of one text against its length.", _lengths),
    "distribution": ("single", "Share of texts answered within a time, one at a time.", _cdf),
    "throughput": ("offline", "AskedTexts per second when all are given at once.", _throughput),
    "heads": ("heads", "What further heads cost.", _heads),
}


def _svg(figure: Figure) -> str:
    FigureCanvasAgg(figure)
    content = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "polyhead", "svg.fonttype": "path"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    text = content.getvalue()
    return text[text.index("<svg") :]
