"""A report of results as a Markdown page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from polyhead_models.results.contents import Report

_PAGE = """\
# Results

Made by `polyhead results`, from the checkpoints {names}. The file beside this one, `{data}`, has
all figures.
Test figures are of fp32. A baseline is TF-IDF and a linear model of scikit-learn, trained on the
same rows; for summaries, the sentences whose TF-IDF vectors are nearest to the text's.

{figures}

## Training

{training}

Seconds are those of the run, validation included, on the machine that trained.

## Made with

{made}
"""


def markdown(report: Report, *, data: str) -> str:
    """The page.

    Args:
        report: what to show.
        data: name of the JSON file beside the page.
    """
    return _PAGE.format(
        names=", ".join(recipe.recipe for recipe in report.recipes),
        data=data,
        figures=_table(FIGURES, figures(report)),
        training=_table(_TRAINING, _training(report)),
        made="\n".join(_made(report)),
    )


FIGURES = ("recipe", "head", "metric", "test", "baseline", "test texts", "training texts")
_TRAINING = ("recipe", "encoder", "seconds", "epochs", "best epoch", "precision", "seed")


def figures(report: Report) -> list[list[object]]:
    """A row a head, in the order of `FIGURES`; None where there is no baseline."""
    return [
        [
            *(recipe.recipe, name, head.metric, head.test[head.metric]),
            None if head.baseline is None else head.baseline[head.metric],
            *(head.test_texts, head.training_texts),
        ]
        for recipe in report.recipes
        for name, head in recipe.heads.items()
    ]


def _training(report: Report) -> list[list[object]]:
    return [
        [
            *(r.recipe, r.encoder, None if r.seconds is None else round(r.seconds)),
            *(r.epochs, r.best_epoch, r.precision, r.seed),
        ]
        for r in report.recipes
    ]


def _made(report: Report) -> Iterator[str]:
    flags = ", ".join(report.cpu.flags) or "flags unknown"
    yield f"- figures: {report.cpu.model} ({flags}); {_versions(report.evaluated_with)}"
    for recipe in report.recipes:
        if not recipe.trained_with.items() <= report.evaluated_with.items():
            yield f"- {recipe.recipe} was trained with {_versions(recipe.trained_with)}"


def _versions(libraries: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in libraries.items())


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    aligned = ["---:" if i and _numeric(rows, i) else "---" for i in range(len(header))]
    lines = [list(header), aligned, *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _numeric(rows: Sequence[Sequence[object]], column: int) -> bool:
    return all(row[column] is None or isinstance(row[column], int | float) for row in rows)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
