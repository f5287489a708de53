"""Texts without targets, from a file: for checkpoints that remember no data of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from polyhead.cli import texts as json_lines
from polyhead.errors import InputError
from polyhead.text.encoding import Input
from polyhead_models.data.examples import Example
from polyhead_models.errors import DataError

SPLIT = "texts"
"""What metrics of such texts are said to be of."""


def read(path: Path, field: str = "text") -> tuple[list[Example], list[Example]]:
    """Every other text to calibrate with, the others to measure on; a single text is both.

    Args:
        path: JSON lines, as `polyhead run --input` reads them; or, when it ends in ``.txt``, a text
            a line. Empty lines are passed over.
        field: key of the text in a line that is an object; two with a comma between for a pair.

    Raises:
        DataError: when the file cannot be read or has no text; names file and line.
    """
    try:
        found = [
            Example(f"{path}:{number}", str(path), text, {})
            for number, text in _numbered_texts(path, field)
        ]
    except (OSError, UnicodeDecodeError, InputError) as problem:
        raise DataError(f"{path}: cannot be read: {problem}") from problem
    if not found:
        raise DataError(f"{path}: no text in it; expected some of those that the model will read.")
    return found[::2], found[1::2] or found


def _numbered_texts(path: Path, field: str) -> Iterator[tuple[int, Input]]:
    """Each text with the number of its line, from 1."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            if path.suffix == ".txt":
                yield number, line.rstrip("\n")
            else:
                yield number, json_lines.parse_line(line, f"{path}:{number}", field)
