"""Results into a folder: results.json, report.md and its pictures."""

from __future__ import annotations

import tempfile
from pathlib import Path

from polyhead.system import atomic
from polyhead_bench import results as files
from polyhead_bench.errors import BenchError
from polyhead_bench.report.plots import Picture, pictures
from polyhead_bench.report.tables import Table, as_markdown, tables
from polyhead_bench.results import Results


def require_writable(folder: Path) -> None:
    """Make `folder` when it is missing, and write a file into it that is gone at once.

    Raises:
        BenchError: when it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        raise BenchError(
            f"{folder}: cannot be written to: {problem}. Name another folder with -o."
        ) from problem


def write(folder: Path, results: Results) -> None:
    """Write all files of a run into `folder`, each whole or not at all."""
    files.write(folder, results)
    shown, drawn = tables(results), pictures(results)
    for picture in drawn:
        atomic.write(folder / f"{picture.name}.svg", picture.svg)
    atomic.write(folder / "report.md", _markdown(results, shown, drawn))


def _markdown(results: Results, shown: list[Table], drawn: list[Picture]) -> str:
    parts = [f"# {_title(results)}", *_facts(results)]
    parts += [f"## {table.title}\n\n{as_markdown(table)}" for table in shown]
    parts += [f"![{picture.caption}]({picture.name}.svg)\n\n{picture.caption}" for picture in drawn]
    return "\n\n".join(parts) + "\n"


def _title(results: Results) -> str:
    return f"polyhead bench: {results.model['name']}"


def _facts(results: Results) -> list[str]:
    machine = results.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    flags = " ".join(machine["cpu"]["flags"])
    state = "" if results.complete else " The run was interrupted: what it measured is shown."
    return [
        f"Command: {results.command}. Started {results.started}.{state}",
        f"{machine['cpu']['model']} ({flags}), {machine['budget']} of {machine['cores']} cores;"
        f" Python {machine['python']}, {versions}; commit {machine['commit'] or 'unknown'}"
        f"{', with local changes' if machine['changed'] else ''}.",
        f"{results.texts['about']}; {results.rounds} rounds, interleaved; {results.threads} threads"
        " each, one process a peer. Tokenising and decoding are inside every time. Absolute times"
        " depend on the machine; ratios of one run hold.",
    ]
