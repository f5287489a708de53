"""JSON Lines, and a list in a JSON file: all of it, or what ``file.json#key`` picks from its table.

Own readers, because those of pyarrow and datasets (26.0, 5.2) guess one type for all rows, so that
the text "2024-01-01" becomes a timestamp, and know no line of the file where a row is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from polyhead.errors import nearest
from polyhead_models.data.formats.base import FileLayout, Row, lines, named
from polyhead_models.errors import DataError

_DECODE = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\r\n]*")


def read_lines(place: str, layout: FileLayout) -> Iterator[Row]:
    """JSON Lines: one row a line; blank lines are passed over.

    Raises:
        DataError: for a line that is no JSON object.
    """
    for number, line in lines(Path(place)):
        if line.strip():
            where = f"{place}:{number}"
            try:
                item = json.loads(line)
            except json.JSONDecodeError as problem:
                raise DataError(
                    f"{where}: not a JSON line: {problem.msg} at column {problem.colno}."
                ) from problem
            except (ValueError, RecursionError) as problem:
                raise DataError(f"{where}: not a JSON line: {problem}.") from problem
            if not isinstance(item, dict):
                raise DataError(f"{where}: found {line.strip()[:60]}, expected a JSON object.")
            yield Row(where, item)


def read_list(place: str, layout: FileLayout) -> Iterator[Row]:
    """One row an item: objects with keys, or arrays whose parts `layout.columns` names.

    Raises:
        DataError: when the file is no JSON, there is no such list, or an item has another form.
    """
    path, key = split_key(place)
    for line, item in items(path, key):
        where = f"{path}:{line}"
        yield Row(where, _fields(item, layout.columns, where))


def files(places: Sequence[str], layout: FileLayout) -> list[Path]:
    """The files of the places, without their keys."""
    return [split_key(place)[0] for place in places]


def split_key(place: str) -> tuple[Path, str | None]:
    """``file.json#key`` into file and key; None when there is none.

    A file whose own name has a ``#`` is taken as it is.
    """
    name, mark, key = place.rpartition("#")
    if not mark or Path(place).is_file():
        return Path(place), None
    return Path(name), key


def items(path: Path, key: str | None) -> Iterator[tuple[int, Any]]:
    """The items of a list, each with the line on which it begins.

    Args:
        path: the file.
        key: of the list in the top-level table; None when the file is the list.

    Raises:
        DataError: when the file is no JSON, or there is no such list.
    """
    text = "".join(line for _, line in lines(path))
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as problem:
        raise DataError(
            f"{path}:{problem.lineno}: not valid JSON: {problem.msg} at column {problem.colno}."
        ) from problem
    except (ValueError, RecursionError) as problem:
        raise DataError(f"{path}: not valid JSON: {problem}.") from problem
    _check_list(path, whole, key)
    # Once more, now for the places: json tells none of what it has read.
    line, before = 1, 0
    for start, item in _scan(text, key):
        line += text.count("\n", before, start)
        before = start
        yield line, item


def _check_list(path: Path, whole: Any, key: str | None) -> None:
    if key is None:
        if isinstance(whole, dict):
            raise DataError(
                f"{path}:1: found a table, expected a list. Name a list inside it, as in"
                f" '{path.name}#KEY'; its keys are {', '.join(whole)}."
            )
    elif not isinstance(whole, dict):
        raise DataError(f"{path}:1: found no table, so nothing has the key {key!r}.")
    elif key not in whole:
        raise DataError(
            f"{path}:1: no key {key!r}; there are {', '.join(whole)}." + nearest(key, whole)
        )
    found = whole if key is None else whole[key]
    if not isinstance(found, list):
        raise DataError(f"{path}:1: found {str(found)[:60]!r}, expected a list of rows.")


def _scan(text: str, key: str | None) -> Iterator[tuple[int, Any]]:
    """Start and value of each item of the list; `text` is known to be valid and to have it."""
    at = _skip(text, 0)
    while key is not None:
        name, at = _DECODE(text, _skip(text, at + 1))  # past the brace or comma
        at = _skip(text, _skip(text, at) + 1)  # past the colon
        if name == key:
            break
        at = _skip(text, _DECODE(text, at)[1])
    at = _skip(text, at + 1)
    while text[at] != "]":
        item, end = _DECODE(text, at)
        yield at, item
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _fields(item: Any, columns: Sequence[str], where: str) -> dict[str, Any]:
    if isinstance(item, dict) and not columns:
        return item
    if isinstance(item, list) and len(item) == len(columns):
        return named(columns, item)
    expected = f"an array of {len(columns)}: {', '.join(columns)}" if columns else "an object"
    hint = "" if columns or not isinstance(item, list) else ". Name its parts with columns = [...]"
    raise DataError(f"{where}: found {json.dumps(item)[:60]}, expected {expected}{hint}.")
