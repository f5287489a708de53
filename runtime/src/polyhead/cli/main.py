"""Finds and runs commands, without loading any but the one that was asked for."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Protocol, cast

from polyhead.cli import output
from polyhead.errors import nearest
from polyhead.system import plugins
from polyhead.system.info import __version__

GROUP = "polyhead.commands"
"""Of the entry points that bring the commands of other distributions."""
BUILT_IN = ("inspect", "map", "push", "run", "serve", "verify")
OK, USAGE = 0, 2
SIGNALLED = 128
"""Added to the number of the signal that ended a command: 130 for Ctrl-C, 143 for SIGTERM."""

_BROUGHT_BY = {
    "polyhead-models": ("data", "evaluate", "heads", "init", "train"),
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
        output.use_utf8()
        with _interrupted_by_signals():
            return output.reported(name, lambda: _answer(words))
    except KeyboardInterrupt as problem:
        number = signal.Signals(*problem.args or (signal.SIGINT,))
        output.complain(f"\n{name}: interrupted ({number.name})")
        return SIGNALLED + number


def names() -> dict[str, str]:
    """Distribution by command, of all that are installed; none is loaded."""
    others = {point.name: plugins.distribution(point) for point in plugins.points(GROUP)}
    return others | dict.fromkeys(BUILT_IN, "polyhead")


def command(name: str) -> Command | None:
    """The module of a command; None where nothing installed brings it.

    Raises:
        PluginError: when that cannot be loaded.
    """
    # Spelled out, since tools that freeze a program take along what they find imported, and a
    # frozen program may have no entry points.
    if name == "inspect":
        from polyhead.cli import inspect

        return inspect
    if name == "map":
        from polyhead.cli import map

        return map
    if name == "push":
        from polyhead.cli import push

        return push
    if name == "run":
        from polyhead.cli import run

        return run
    if name == "serve":
        from polyhead.cli import serve

        return serve
    if name == "verify":
        from polyhead.cli import verify

        return verify
    found = next((point for point in plugins.points(GROUP) if point.name == name), None)
    return None if found is None else cast(Command, plugins.load(found))


def _answer(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        output.write(_overview())
        return OK if words else USAGE
    if words[0] in ("-V", "--version"):
        output.write(f"polyhead {__version__}")
        return OK
    found = command(words[0])
    if found is None:
        output.complain(_unknown(words[0]))
        return USAGE
    parser = argparse.ArgumentParser(
        prog=f"polyhead {words[0]}",
        description=found.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    found.configure(parser)
    arguments = _parse(parser, words[1:])
    if arguments.quiet:  # tqdm reads it when the command imports it
        os.environ.setdefault("TQDM_DISABLE", "1")
    with output.log_to_stderr(quiet=arguments.quiet):
        return found.execute(arguments)


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


def _overview() -> str:
    lines = ["usage: polyhead COMMAND [ARGUMENTS]", "", "One encoder pass, many answers.", ""]
    by_distribution: dict[str, list[str]] = {}
    for name, distribution in names().items():
        by_distribution.setdefault(distribution, []).append(name)
    for distribution, brought in sorted(by_distribution.items()):
        lines.append(f"commands of {distribution}:  {'  '.join(sorted(brought))}")
    lines += ["", "'polyhead COMMAND --help' explains one; 'polyhead --version' shows the version."]
    return "\n".join(lines)


def _unknown(word: str) -> str:
    for distribution, brought in _BROUGHT_BY.items():
        if word in brought:
            return (
                f"polyhead: the command {word!r} comes with {distribution}, which is not installed"
                f" here. Run 'pip install {distribution}'."
            )
    known = sorted(names())
    return (
        f"polyhead: unknown command {word!r}; installed: {', '.join(known)}.{nearest(word, known)}"
    )
