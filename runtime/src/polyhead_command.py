"""The installed command `polyhead`: outside of the package, which takes a while to import.

Ctrl-C in that time ends the process as it does later, and not with a traceback.
"""

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Run `polyhead`; returns the exit code."""
    answered = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if answered:  # a job in the background ignores it, and goes on to
        signal.signal(signal.SIGINT, _end)
    from polyhead.cli.main import main as command

    if answered:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return command()


def _end(number: int, _: FrameType | None) -> None:
    """At once: a KeyboardInterrupt may come out of a library's C code as another error."""
    sys.stderr.write("\npolyhead: interrupted (SIGINT)\n")
    sys.stderr.flush()
    os._exit(128 + number)
