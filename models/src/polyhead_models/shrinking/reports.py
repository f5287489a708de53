"""What became of a run: a page, its data and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from polyhead.cli import output
from polyhead_models.plots import png

PAGE, DATA, PICTURE = "shrink.md", "shrink.json", "shrink.png"
HEADER = ("head", "metric", "texts", "teacher", "student", "points lost", "95% interval", "goes to")

_PAGE = """\
# A smaller checkpoint

Shrunk from `{teacher}`: {before} became {after}. The graph takes about {teacher_ms:.2f} ms for a
text of the teacher's and {student_ms:.2f} ms of the student's, {speed_up:.1f} times less, added up
from parts that were timed on this machine.

Validation; a head that loses more than was allowed stays with the teacher. Intervals: paired
bootstrap over texts.

{heads}
{cascade}
![What the heads lose, by time]({picture})

Shapes that are as fast, best first:

{candidates}

Minutes: {minutes}. Steps: {general} of the general phase, {task} of the task phase. Texts:
{labelled:,} labelled, {unlabelled:,} without labels.
"""

_CASCADE = """\
A cascade, with thresholds chosen on the same texts: the student answers where it is sure, and the
teacher the rest (`polyhead combine --cascade`). Times are shares of the teacher's.

{table}
"""


def why(verdict: Mapping[str, Any] | None) -> str:
    """Why a head stays with the teacher."""
    if verdict is None:
        return "no text to judge it by"
    lost = 100 * verdict["drop"]["value"]
    own, theirs = verdict["student"], verdict["teacher"]
    return f"{verdict['metric']} {own:.4f} against {theirs:.4f}, {lost:.1f} points less"


def rows(report: Mapping[str, Any]) -> list[list[object]]:
    """A row a head, for `HEADER`."""
    return [
        [
            *(head, v["metric"], v["texts"], v["teacher"], v["student"]),
            f"{100 * v['drop']['value']:.2f}",
            f"{100 * v['drop']['low']:.2f} to {100 * v['drop']['high']:.2f}",
            "student" if v["passed"] else "teacher",
        ]
        for head, v in report["heads"].items()
    ]


def _cascade(report: Mapping[str, Any]) -> str:
    """What student and teacher would make together; empty where no head can be in a cascade."""
    times, found = report["milliseconds"], []
    for head, verdict in report["heads"].items():
        if (own := verdict["cascade"]) is not None:
            share = _mean_ms(times, own) / times["teacher"]
            shares = [f"{100 * each:.1f}%" for each in (own["asked"], own["changed"])]
            found.append([head, own["value"], *shares, f"{share:.2f}"])
    if not found:
        return ""
    return "\n" + _CASCADE.format(
        table=output.markdown_table(
            ("head", "metric", "texts for the teacher", "decisions changed", "mean time"), found
        )
    )


def _mean_ms(times: Mapping[str, float], cascade: Mapping[str, float]) -> float:
    """Milliseconds of a text whose teacher is asked where the student is not sure."""
    return times["student"] + cascade["asked"] * times["teacher"]


def files(report: Mapping[str, Any]) -> dict[str, bytes]:
    """All three files by name."""
    times = report["milliseconds"]
    page = _PAGE.format(
        teacher=report["teacher"]["checkpoint"],
        before=_shape(report["teacher"]["shape"]),
        after=_shape(report["student"]["shape"]),
        speed_up=times["teacher"] / times["student"],
        teacher_ms=times["teacher"],
        student_ms=times["student"],
        heads=output.markdown_table(HEADER, rows(report)),
        cascade=_cascade(report),
        picture=PICTURE,
        candidates=output.markdown_table(
            ("layers", "neurons", "attention heads", "times as fast", "ms", "of the weights"),
            [
                [
                    *c["shape"].values(),
                    round(c["speed_up"], 2),
                    round(c["milliseconds"], 2),
                    round(c["kept"], 3),
                ]
                for c in report["candidates"]
            ],
        ),
        minutes=", ".join(f"{step} {minutes:g}" for step, minutes in report["minutes"].items()),
        general=report["student"]["steps"][0],
        task=report["student"]["steps"][1],
        **report["texts"],
    )
    data = json.dumps(report, indent=1, ensure_ascii=False)
    return {PAGE: page.encode(), DATA: data.encode(), PICTURE: _picture(report)}


def _shape(shape: Mapping[str, int]) -> str:
    layers, neurons, heads = shape.values()
    return f"{layers} layers of {neurons} neurons and {heads} attention heads"


def _picture(report: Mapping[str, Any]) -> bytes:
    """The metric of each head against milliseconds: student, cascade, teacher; other shapes."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    times = report["milliseconds"]
    for head, verdict in report["heads"].items():
        values = (verdict["student"], verdict["teacher"])
        (line,) = axes.plot((times["student"], times["teacher"]), values, marker="o", label=head)
        if (own := verdict["cascade"]) is not None:
            axes.plot(_mean_ms(times, own), own["value"], marker="D", color=line.get_color())
    for candidate in report["candidates"]:
        axes.axvline(candidate["milliseconds"], color="0.8", linewidth=0.8, linestyle=":", zorder=0)
    axes.set_xlabel(
        "milliseconds for a text, the graph alone (student left; diamonds: cascade; dotted: other"
        " shapes)"
    )
    axes.set_ylabel("validation metric")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return png(figure)
