"""`report.md`: a comparison as a page to read."""

from __future__ import annotations

from collections.abc import Sequence

from polyhead_models.report.bootstrap import Estimate
from polyhead_models.report.contents import Report, Run

_PAGE = """\
# Joint training against single heads

Encoder `{encoder}`. Joint: one encoder with {count} heads, trained together. Single: the same
encoder and `[training]` table, and the head's own data, one head at a time. All runs have the same
seed; the intervals say what other texts could change, not what another seed could.

![Figures and differences with 95% intervals]({picture})

## Figures

{figures}

The difference is joint minus single, on the same draws of texts. Intervals: 95%, percentile
bootstrap over texts ({samples} draws, seed {seed}; Efron & Tibshirani 1993). {splits}

## Costs

{costs}

Seconds are of this machine, validation included. The joint run keeps the epoch with the best mean
over its heads; a single run keeps the best epoch of its own head.
"""


def markdown(report: Report, *, picture: str) -> str:
    """The page.

    Args:
        report: what to show.
        picture: path of the picture, relative to the page.
    """
    samples = sorted({head.samples for head in report.heads.values()})
    return _PAGE.format(
        encoder=report.encoder,
        count=len(report.heads),
        picture=picture,
        figures=_figures(report),
        samples=" or ".join(f"{number:,}" for number in samples),
        seed=report.seed,
        splits=_splits(report),
        costs=_costs(report),
    )


def _figures(report: Report) -> str:
    rows = [
        [
            name,
            head.metric,
            head.split,
            f"{head.texts:,}",
            _with_interval(head.joint),
            _with_interval(head.single),
            _with_interval(head.difference, signed=True),
            head.verdict,
        ]
        for name, head in report.heads.items()
    ]
    header = ["head", "metric", "split", "texts", "joint", "single", "difference", "reading"]
    return _table(header, rows)


def _splits(report: Report) -> str:
    without = [name for name, head in report.heads.items() if head.split != "test"]
    cut = [f"{n}: {head.windowed:,}" for n, head in report.heads.items() if head.windowed]
    said = (
        "All figures are of the test split."
        if not without
        else f"No test split: {', '.join(without)}; the figures are of the validation split, which"
        " also chose the epoch."
    )
    return said + (f" Texts read in several windows: {', '.join(cut)}." if cut else "")


def _costs(report: Report) -> str:
    rows = [_cost("joint", report.joint)]
    rows += [_cost(f"{name} alone", run) for name, run in report.singles.items()]
    total = report.singles_together
    rows.append(["singles together", f"{total.parameters:,}", _seconds(total.seconds), "", "", ""])
    header = ["run", "parameters", "seconds", "epochs", "best epoch", "texts an epoch"]
    return _table(header, rows)


def _cost(name: str, run: Run) -> list[str]:
    return [
        name,
        f"{run.parameters:,}",
        _seconds(run.seconds),
        str(run.epochs),
        str(run.best_epoch),
        f"{run.examples:,}",
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _with_interval(estimate: Estimate, *, signed: bool = False) -> str:
    form = "+.4f" if signed else ".4f"
    return f"{estimate.value:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
