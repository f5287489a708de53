"""A README's tables and pictures, made of the newest published runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polyhead.system import atomic
from polyhead_bench.errors import BenchError
from polyhead_bench.report.tables import as_markdown, state, tables
from polyhead_bench.results import FILE, Results, read

BEGIN, END = "<!-- benchmark: made by `make readme` -->", "<!-- end of benchmark -->"
_TABLES = ("One text at a time, ms", "What more heads cost")
_PICTURES = {  # the first that a run has; by file, what it shows
    "latency": "latency of one text against its length",
    "heads": "what a further head costs",
    "distribution": "latency of one text, its distribution",
}


def newest(folder: Path) -> list[Path]:
    """The runs of the newest publication, a model each: ``<date>-<cpu>/<model>/results.json``.

    The newest is the one of the run that was started last, of several the last by name; empty where
    there is none.
    """
    runs = sorted(file.parent for file in folder.glob(f"*/*/{FILE}"))
    last = max(runs, key=lambda run: (read(run).started, run), default=None)
    return [run for run in runs if last is not None and run.parent == last.parent]


def section(run: Path, root: Path) -> str:
    """One model: title, tables of single texts and of further heads, every peer's state, picture.

    Args:
        run: folder of a published run.
        root: folder of the README; links are relative to it.

    Raises:
        BenchError: when the run measured no single texts.
    """
    results = read(run)
    if not results.scenarios.get("single"):
        raise BenchError(f"{run}: has no scenario 'single'; publish a run that has one.")
    place = run.resolve().relative_to(root.resolve()).as_posix()
    parts = [f"### {run.name}"]
    for table in tables(results):
        if table.title.startswith(_TABLES):
            parts += [f"{table.title}.", as_markdown(table)]
    parts += _not_measured(results)
    shown = next((name for name in _PICTURES if (run / f"{name}.svg").is_file()), None)
    if shown is not None:
        parts.append(f"![{run.name}: {_PICTURES[shown]}]({place}/{shown}.svg)")
    heads = ", ".join(results.model["heads"])
    parts.append(
        f"{results.model['name']}, heads: {heads}; {results.machine['cpu']['model']},"
        f" {results.threads} threads; {results.texts['about']}; {results.rounds} rounds."
        f" [The whole report]({place}/report.md)."
    )
    return "\n\n".join(parts)


def _not_measured(results: Results) -> list[str]:
    """A paragraph on peers that failed, were refused or answer otherwise; empty where none did."""
    states = {name: state(results, name) for name in results.peers}
    rows = [f"- `{name}`: {' '.join(why.split())}" for name, why in states.items() if why]
    return ["What went wrong, or is not as it should be:\n\n" + "\n".join(rows)] if rows else []


def filled(readme: str, content: str) -> str:
    """The README with `content` between its markers.

    Raises:
        BenchError: when it does not have each marker once.
    """
    if (readme.count(BEGIN), readme.count(END)) != (1, 1):
        raise BenchError(f"the README needs the lines {BEGIN!r} and {END!r}, once each.")
    before, _, rest = readme.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{rest.partition(END)[2]}"


def fill(file: Path, folder: Path, *, models: Sequence[str] = ()) -> None:
    """Fill a README from the newest published runs.

    Args:
        file: of the README.
        folder: of the publications.
        models: names of the runs in their order; empty for all.

    Raises:
        BenchError: when there is no such run, or the README has no place for it.
    """
    runs = {run.name: run for run in newest(folder)}
    if not runs:
        raise BenchError(f"{folder}: no published run; copy a report there, see its README.")
    for name in models:
        if name not in runs:
            raise BenchError(f"{folder}: no run {name!r}; there are {', '.join(runs)}.")
    chosen = [runs[name] for name in models or runs]
    content = "\n\n".join(section(run, file.resolve().parent) for run in chosen)
    atomic.write(file, filled(file.read_text(encoding="utf-8"), content))
