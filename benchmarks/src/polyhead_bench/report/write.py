"""Results into a folder: results.json, report.md and a report.html that needs nothing else."""

from __future__ import annotations

from html import escape
from pathlib import Path

from polyhead.system import atomic
from polyhead_bench import results as files
from polyhead_bench.report.plots import Picture, pictures
from polyhead_bench.results import Results
from polyhead_bench.tables import Table, as_markdown, tables

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 0.5rem 0 2rem; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #ccc; padding: 0.25rem 0.75rem; text-align: left }
figure { margin: 1.5rem 0 } figcaption { color: #444; font-size: 0.9em }
svg { max-width: 100%; height: auto }
"""


def write(folder: Path, results: Results) -> None:
    """Write all files of a run into `folder`, each whole or not at all.

    Pictures stand beside report.md as SVG, and inside report.html.
    """
    files.write(folder, results)
    shown, drawn = tables(results), pictures(results)
    for picture in drawn:
        atomic.write_text(folder / f"{picture.name}.svg", picture.svg)
    atomic.write_text(folder / "report.md", _markdown(results, shown, drawn))
    atomic.write_text(folder / "report.html", _html(results, shown, drawn))


def _markdown(results: Results, shown: list[Table], drawn: list[Picture]) -> str:
    parts = [f"# {_title(results)}", *_facts(results)]
    parts += [f"## {table.title}\n\n{as_markdown(table)}" for table in shown]
    parts += [f"![{picture.caption}]({picture.name}.svg)\n\n{picture.caption}" for picture in drawn]
    return "\n\n".join(parts) + "\n"


def _html(results: Results, shown: list[Table], drawn: list[Picture]) -> str:
    title = escape(_title(results))
    parts = [f"<h1>{title}</h1>", *(f"<p>{escape(fact)}</p>" for fact in _facts(results))]
    for table in shown:
        parts.append(f"<h2>{escape(table.title)}</h2>{_html_table(table)}")
    for picture in drawn:
        parts.append(
            f'<figure id="{picture.name}">{picture.svg}'
            f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        )
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


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
