"""Whether results can be written, asked before anything is measured."""

from __future__ import annotations

import tempfile
from pathlib import Path

from polyhead_bench.errors import BenchError


def require_writable(folder: Path) -> None:
    """Make `folder` when it is missing, and write a file into it that is gone at once.

    Raises:
        BenchError: when it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise BenchError(f"{folder}: cannot be made: {problem}. Name another folder.") from problem
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        message = f"{folder}: cannot be written to: {problem}. Name another folder with -o."
        raise BenchError(message) from problem
