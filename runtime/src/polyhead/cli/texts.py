"""Texts from JSON lines: strings, or objects with a text under a key."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from polyhead.errors import InvalidText


def read(name: str, field: str) -> Iterator[str]:
    """The texts of a file, one by one; empty lines are passed over.

    Args:
        name: path of the file; ``"-"`` is standard input.
        field: key of the text in a line that is an object.

    Raises:
        InvalidText: when a line is no JSON or has no text; names file and line.
    """
    if name == "-":
        yield from _texts(sys.stdin, "standard input", field)
    else:
        with Path(name).open(encoding="utf-8") as lines:
            yield from _texts(lines, name, field)


def _texts(lines: Iterable[str], name: str, field: str) -> Iterator[str]:
    try:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _text(line, f"{name}:{number}", field)
    except UnicodeDecodeError as problem:
        raise InvalidText(f"{name}: not UTF-8: {problem}. Convert the file first.") from problem


def _text(line: str, where: str, field: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise InvalidText(f"{where}: not a JSON line: {problem}.") from problem
    text = row if isinstance(row, str) else row.get(field) if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise InvalidText(
            f"{where}: expected a JSON string, or an object with a text under {field!r}."
            " Name another key with --field."
        )
    return text
