"""Texts from JSON lines: strings, lists of two of them, or objects with texts under keys."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from polyhead.errors import InvalidText
from polyhead.system.lines import decoded, read_lines
from polyhead.text.encoding import Input


def read(name: str, field: str) -> Iterator[tuple[str, Input]]:
    """The texts and pairs of a file, one by one; empty lines are passed over.

    Args:
        name: path of the file; ``"-"`` is standard input.
        field: key of the text in a line that is an object; two keys with a comma between them read
            a pair.

    Returns:
        For each the place, ``file:line``, and what it is.

    Raises:
        InvalidText: when a line is no JSON, not UTF-8, or has no text; names file and line.
    """
    shown = "standard input" if name == "-" else name
    lines = (
        decoded(sys.stdin.buffer, shown, InvalidText)
        if name == "-"
        else read_lines(Path(name), InvalidText)
    )
    for number, line in lines:
        if line.strip():
            where = f"{shown}:{number}"
            yield where, parse_line(line, where, field)


def parse_line(line: str, where: str, field: str) -> Input:
    """The text or pair of one line; `where` and `field` are for messages and objects, see `read`.

    Raises:
        InvalidText: when it is no JSON or has no text.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise InvalidText(f"{where}: not a JSON line: {problem}.") from problem
    if isinstance(row, str):
        return row
    keys = field.split(",")
    found = [row.get(key) for key in keys] if isinstance(row, dict) else row
    if isinstance(found, list) and all(isinstance(text, str) for text in found):
        if len(found) == 1 and isinstance(row, dict):
            return str(found[0])
        if len(found) == 2:
            return str(found[0]), str(found[1])
    raise InvalidText(
        f"{where}: expected a JSON string, a list of two for a pair, or an object with a text under"
        f" {' and '.join(map(repr, keys))}. Name another key with --field, two for a pair."
    )
