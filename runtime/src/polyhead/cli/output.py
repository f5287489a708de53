"""Results on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any


def write(text: str) -> None:
    """One result, as text, to stdout."""
    sys.stdout.write(text + "\n")


def write_json(value: Any, *, indent: int | None = 1) -> None:
    """One result, as JSON, to stdout; with `indent=None` on one line."""
    write(json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False))


def progress(text: str) -> None:
    """A note on stderr for whoever watches."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def listed(values: Iterable[object]) -> str:
    """Values in a sentence: ``1, 8 and 64``."""
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns of equal width; numbers are set to the right, CJK counts as two columns wide."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(_width(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    lines = [list(header), ["-" * width for width in widths], *cells]
    return "\n".join(
        "  ".join(
            _pad(value, width, flush)
            for value, width, flush in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
