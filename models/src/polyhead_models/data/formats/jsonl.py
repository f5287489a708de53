"""JSON Lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from polyhead_models.data.formats.base import FileLayout, Row, lines
from polyhead_models.errors import DataError


def read(place: str, layout: FileLayout) -> Iterator[Row]:
    """One row a line; blank lines are passed over.

    Raises:
        DataError: for a line that is no JSON object.
    """
    for number, line in lines(Path(place)):
        if not line.strip():
            continue
        where = f"{place}:{number}"
        try:
            fields = json.loads(line)
        except json.JSONDecodeError as problem:
            raise DataError(
                f"{where}: not a JSON line: {problem.msg} at column {problem.colno}."
            ) from problem
        except (ValueError, RecursionError) as problem:
            raise DataError(f"{where}: not a JSON line: {problem}.") from problem
        if not isinstance(fields, dict):
            raise DataError(f"{where}: found {line.strip()[:60]}, expected a JSON object.")
        yield Row(where, fields)
