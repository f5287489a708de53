"""Write `reference/cli.md` from the commands that are installed: `python docs/cli_reference.py`.

A test holds the page equal to what this writes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from polyhead.cli.main import Command, command, names

PAGE = Path(__file__).parent / "reference" / "cli.md"
_HEAD = """# Command line

<!-- Written by docs/cli_reference.py from the commands' own --help. Do not edit. -->

Each command belongs to a distribution and appears when that is installed. Results go to stdout,
progress to stderr, both in UTF-8 whatever the locale; control codes in texts and labels are shown,
not sent. Exit code 0 is success, 1 a failure that the message explains, 2 a usage error, 130 an
interrupt by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
"""
_EXAMPLES = ("Example:", "Examples:")
_DISTRIBUTIONS = ("polyhead", "polyhead-models", "polyhead-export", "polyhead-bench")


def page() -> str:
    """The whole page, in Markdown."""
    found = dict(sorted(names().items()))
    rows = [
        f"| [`polyhead {name}`](#polyhead-{name}) | `{distribution}` | {_about(name)} |"
        for name, distribution in found.items()
    ]
    table = "\n".join(["| command | distribution | does |", "|---|---|---|", *rows])
    return "\n".join([_HEAD, table, *(part for name in found for part in _command(name))]) + "\n"


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a command, with its arguments."""
    module = _module(name)
    parser = argparse.ArgumentParser(prog=f"polyhead {name}", description=module.__doc__)
    module.configure(parser)
    return parser


def _module(name: str) -> Command:
    found = command(name)
    assert found is not None
    return found


def _about(name: str) -> str:
    return (_module(name).__doc__ or "").partition("\n\n")[0].replace("\n", " ").strip()


def _command(name: str) -> Iterator[str]:
    parser = parser_of(name)
    yield f"\n## polyhead {name}\n"
    yield from _described(parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield f"\n### polyhead {name} {word}\n"
                yield from _described(below)


def _described(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Description and examples, then a table of the arguments."""
    text, examples = _parted(parser.description or "")
    yield text
    if examples:
        yield f"\n```sh\n{examples}\n```"
    rows = [row for action in parser._actions if (row := _row(action))]
    if rows:
        yield "\n".join(["", "| argument | meaning |", "|---|---|", *rows])


def _parted(description: str) -> tuple[str, str]:
    """The text and the examples behind it, which are indented."""
    text: list[str] = []
    examples: list[str] = []
    into = text
    for line in description.strip().splitlines():
        if line.strip() in _EXAMPLES:
            into = examples
        elif into is examples and line and not line.startswith(" "):
            into = text
            text.append(line)
        else:
            into.append(line.strip() if into is examples else line)
    return "\n".join(text).strip().replace("*", "\\*"), "\n".join(examples).strip()


def _row(action: argparse.Action) -> str | None:
    """A line of the table; None for --help and for commands below, which have sections."""
    if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
        return None
    value = _value(action)
    names = action.option_strings or [value]
    shown = ", ".join(
        f"`{name} {value}`" if value and action.option_strings else f"`{name}`" for name in names
    )
    about = (action.help or "") % {"default": action.default}
    about += "; required" if action.required and action.option_strings and about else ""
    about = about or ("required" if action.required else "")
    return f"| {_cell(shown)} | {_cell(about)} |"


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices is not None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return f"{name} …" if action.nargs in ("+", "*") else name


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    for distribution in _DISTRIBUTIONS:
        version(distribution)  # raises where one is not installed: its commands would be missing
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
