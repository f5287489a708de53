"""Finds and runs commands, without loading any but the one that was asked for."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from types import FrameType
from typing import Protocol, cast

from polyhead.cli import output
from polyhead.errors import PolyheadError, nearest
from polyhead.system import plugins
from polyhead.system.info import __version__

GROUP = "polyhead.commands"
OK, FAILED, USAGE = 0, 1, 2
SIGNALLED = 128
"""Added to the number of the signal that ended a command: 130 for Ctrl-C, 143 for SIGTERM."""

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
    name = " ".join(["polyhead", *words[:1]])
    try:
        with _interrupted_by_signals():
            code = _answer(words)
            sys.stdout.flush()  # here, where a full disk or a closed pipe is still answered
        return code
    except (PolyheadError, OSError) as problem:
        if not isinstance(problem, PolyheadError):
            _discard_output()
        if isinstance(problem, BrokenPipeError):
            return OK  # the reader (`head`, say) went away: end quietly
        sys.stderr.write(f"{name}: {problem}\n")
        return FAILED
    except KeyboardInterrupt as problem:
        number = signal.Signals(*problem.args or (signal.SIGINT,))
        sys.stderr.write(f"\n{name}: interrupted ({number.name})\n")
        return SIGNALLED + number


def _answer(words: list[str]) -> int:
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
    return _execute(commands[words[0]], words[1:])


def _execute(point: EntryPoint, words: list[str]) -> int:
    command = cast(Command, plugins.load(point))
    parser = argparse.ArgumentParser(
        prog=f"polyhead {point.name}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    command.configure(parser)
    arguments = _parse(parser, words)
    with output.log_to_stderr(quiet=arguments.quiet):
        return command.execute(arguments)


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """What asks the process to end is a KeyboardInterrupt with the signal's number, as Ctrl-C is.

    So files that are being written are taken away again. Signals that someone else answers, or has
    ignored, as `nohup` does, stay as they are.
    """

    def interrupt(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    main = threading.current_thread() is threading.main_thread()
    ours = [each for each in known if main and signal.getsignal(each) is signal.SIG_DFL]
    for each in ours:
        signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


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
