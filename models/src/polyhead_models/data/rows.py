"""Rows of a file, each with the place it came from."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhead.errors import nearest
from polyhead_models.errors import DataError


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        where: ``file:line``, for messages.
        fields: values by key.
    """

    where: str
    fields: Mapping[str, Any]


def read(path: Path, format: str | None) -> list[Row]:
    """Read all rows of a file.

    Args:
        path: the file.
        format: ``"jsonl"`` or ``"csv"``; None goes by the file's ending.

    Raises:
        DataError: when the file is missing, empty, of an unknown format, not UTF-8, or has a row
            that cannot be read; names file and line.
    """
    name = format or path.suffix.lstrip(".")
    if name not in _FORMATS:
        raise DataError(
            f"{path}: cannot tell the format from its ending; set format to one of"
            f" {', '.join(_FORMATS)}.{nearest(name, _FORMATS)}"
        )
    try:
        rows = list(_FORMATS[name](path))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder; expected a file of rows.") from None
    except UnicodeDecodeError as problem:
        raise DataError(f"{path}: not UTF-8: {problem}. Convert the file first.") from problem
    if not rows:
        raise DataError(f"{path}: no rows; expected at least one.")
    return rows


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                fields = json.loads(line)
            except (ValueError, RecursionError) as problem:
                raise DataError(f"{where}: not a JSON line: {problem}.") from problem
            if not isinstance(fields, dict):
                raise DataError(f"{where}: found {line.strip()[:60]}, expected a JSON object.")
            yield Row(where, fields)


def _csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            for fields in reader:
                where = f"{path}:{reader.line_num}"
                if None in fields or None in fields.values():
                    raise DataError(
                        f"{where}: found another number of columns than in the header, which has"
                        f" {len(reader.fieldnames or ())}."
                    )
                yield Row(where, {key: _cell(value) for key, value in fields.items()})
        except csv.Error as problem:
            line = reader.line_num + 1  # the reader counts a line when it has understood it
            raise DataError(f"{path}:{line}: not valid CSV: {problem}.") from problem


def _cell(value: str) -> Any:
    """Lists in a CSV cell (words, tags, spans) are written as JSON; all else stays text."""
    if value.startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value or None


_FORMATS: dict[str, Callable[[Path], Iterator[Row]]] = {"jsonl": _jsonl, "csv": _csv}
