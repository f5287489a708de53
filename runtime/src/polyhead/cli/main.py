"""Finds and runs commands, without loading any but the one that was asked for."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from typing import Protocol, cast

from polyhead.cli import output
from polyhead.errors import PluginError, PolyheadError, nearest
from polyhead.system import plugins
from polyhead.system.info import __version__

GROUP = "polyhead.commands"
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_BROUGHT_BY = {
    "polyhead-models": ("data", "evaluate", "heads", "train"),
    "polyhead-export": ("combine", "export", "import"),
    "polyhead-bench": ("bench",),
}
"""Commands of polyhead's other distributions, to name the one to install."""


class Command(Protocol):
    """What a command's module offers."""

    __doc__: str | None

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""
        ...

    def execute(self, arguments: argparse.Namespace) -> int:
        """Run and return the exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run `polyhead` with `argv` (None: the process's own). Returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    commands = {point.name: point for point in plugins.points(GROUP)}
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_overview(commands))
        return OK if words else USAGE
    if words[0] in ("-V", "--version"):
        sys.stdout.write(f"polyhead {__version__}\n")
        return OK
    if words[0] not in commands:
        sys.stderr.write(_unknown(words[0], commands))
        return USAGE
    return _run(commands[words[0]], words[1:])


def _run(point: EntryPoint, words: list[str]) -> int:
    try:
        command = cast(Command, plugins.load(point))
    except PluginError as problem:
        sys.stderr.write(f"polyhead: the command {problem}\n")
        return FAILED
    parser = argparse.ArgumentParser(
        prog=f"polyhead {point.name}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    command.configure(parser)
    arguments = _parse(parser, words)
    try:
        with output.log_to_stderr(quiet=arguments.quiet):
            code = command.execute(arguments)
        sys.stdout.flush()  # here, where a full disk or a closed pipe is still answered
        return code
    except PolyheadError as problem:
        sys.stderr.write(f"polyhead {point.name}: {problem}\n")
        return FAILED
    except OSError as problem:
        if isinstance(problem, BrokenPipeError):
            _discard_output()  # the reader (`head`, say) went away: end quietly
            return OK
        _discard_output()
        sys.stderr.write(f"polyhead {point.name}: {problem}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write(f"\npolyhead {point.name}: interrupted\n")
        return INTERRUPTED


def _parse(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    """The arguments; options may come between BUNDLE and TEXT."""
    try:
        return parser.parse_intermixed_args(words)
    except TypeError:  # said of a parser with commands of its own, before anything is read
        return parser.parse_args(words)


def _discard_output() -> None:
    """What is still buffered must not fail again when Python flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _overview(commands: dict[str, EntryPoint]) -> str:
    lines = ["usage: polyhead COMMAND [ARGUMENTS]", "", "One encoder pass, many answers.", ""]
    by_distribution: dict[str, list[str]] = {}
    for point in commands.values():
        by_distribution.setdefault(plugins.distribution(point), []).append(point.name)
    for distribution, names in sorted(by_distribution.items()):
        lines.append(f"commands of {distribution}:  {'  '.join(sorted(names))}")
    lines += [
        "",
        "'polyhead COMMAND --help' explains one; 'polyhead --version' shows the version.",
    ]
    return "\n".join(lines) + "\n"


def _unknown(word: str, commands: dict[str, EntryPoint]) -> str:
    for distribution, names in _BROUGHT_BY.items():
        if word in names:
            return (
                f"polyhead: the command {word!r} comes with {distribution}, which is not installed"
                f" here. Run 'pip install {distribution}'.\n"
            )
    return (
        f"polyhead: unknown command {word!r}; installed: {', '.join(sorted(commands))}."
        f"{nearest(word, commands)}\n"
    )
