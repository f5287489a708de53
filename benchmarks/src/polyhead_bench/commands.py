"""A command in a process of its own, with a time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress

from polyhead_bench.errors import PeerFault

LIMIT_S = 3600.0
"""Seconds after which a command is stopped."""


def run(command: Sequence[str], about: str, *, limit_s: float = LIMIT_S) -> str:
    """Run a command and what it starts to their end; returns its standard output.

    Args:
        command: interpreter, script or module, and arguments.
        about: what it is, for the fault.
        limit_s: seconds after which its whole session is stopped.

    Raises:
        PeerFault: when it cannot start, fails or takes too long; says what it printed last.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                env=environment,
                start_new_session=True,
            )
        except OSError as problem:
            raise PeerFault(f"{about}: {command[0]} cannot be started: {problem}") from None
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise PeerFault(f"{about} took longer than {limit_s:g} s; it was stopped.") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if process.returncode != 0:
        raise PeerFault(f"{about} failed: {_reason(lines)}")
    return output.decode(errors="replace")


def module(name: str, words: Sequence[object], about: str) -> None:
    """Run ``python -m NAME WORDS`` in this environment; raises what `run` raises."""
    run([sys.executable, "-m", name, *map(str, words)], about)


def _reason(lines: Sequence[str]) -> str:
    """The message of a `polyhead` command, which may be followed by a table; else the last line."""
    messages = [line for line in lines if line.startswith("polyhead ")]
    return next(iter([*messages, *lines[-1:]]), "it said nothing")
