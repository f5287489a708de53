"""JSON Lines; a list in a JSON file: all of it, or what ``file.json#key`` picks; and SQuAD.

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
from polyhead.system.lines import without_end
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
                item = _parsed(without_end(line), place, "not a JSON line", number)
                if not isinstance(item, dict):
                    raise DataError(f"{where}: found {line.strip()[:60]}, expected a JSON object.")
            except DataError as problem:
                layout.refuse(problem)
            else:
                yield Row(where, item)


def read_list(place: str, layout: FileLayout) -> Iterator[Row]:
    """One row an item: objects with keys, or arrays whose parts `layout.columns` names.

    Raises:
        DataError: when the file is no JSON, there is no such list, or an item has another form.
    """
    path, key = split_key(place)
    for line, item in items(path, key):
        where = f"{path}:{line}"
        try:
            yield Row(where, _fields(item, layout.columns, where))
        except DataError as problem:
            layout.refuse(problem)


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
    _check_list(path, _parsed(text, path, "not valid JSON"), key)
    # Once more, now for the places: json tells none of what it has read.
    line, before = 1, 0
    for start, item in _scan(text, key):
        line += text.count("\n", before, start)
        before = start
        yield line, item


def from_json(cell: str) -> Any:
    """The value of a text that is JSON; the text itself where it is none."""
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _parsed(text: str, place: object, what: str, first: int = 1) -> Any:
    """The value of a text that begins on the line `first` of a file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        where, why = first + problem.lineno - 1, f"{problem.msg} at column {problem.colno}"
        raise DataError(f"{place}:{where}: {what}: {why}.") from problem
    except (ValueError, RecursionError) as problem:
        raise DataError(f"{place}:{first}: {what}: {problem}.") from problem


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


def read_squad(place: str, layout: FileLayout) -> Iterator[Row]:
    """SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018): one row a question.

    Its keys are id, question, context, answers and impossible.

    ``answers`` is a list of ``{text, start}``, start in code points of the context; empty where the
    context has no answer, as where ``impossible`` is true, whatever answers the file has there.

    Raises:
        DataError: when the file is no JSON, or a part has not the form of SQuAD.
    """
    for line, article in items(Path(place), "data"):
        where = f"{place}:{line}"
        for paragraph in _part(article, "paragraphs", list, where):
            context = _part(paragraph, "context", str, where)
            for question in _part(paragraph, "qas", list, where):
                # Files often have all on one line; the id finds the question there.
                name = str(question.get("id")) if isinstance(question, dict) else None
                yield _row(question, context, f"{where}, question {name!r}")


def _row(question: Any, context: str, where: str) -> Row:
    fields = {
        "id": str(_part(question, "id", (str, int), where)),
        "question": _part(question, "question", str, where),
        "context": context,
    }
    stated = {"is_impossible": question.get("is_impossible") or False}
    impossible = _part(stated, "is_impossible", bool, where)
    answers = [
        {
            "text": _part(answer, "text", str, where),
            "start": _part(answer, "answer_start", int, where),
        }
        for answer in ([] if impossible else _part(question, "answers", list, where))
    ]
    return Row(where, {**fields, "answers": answers, "impossible": impossible})


def _part(table: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    value = table.get(key) if isinstance(table, dict) else None
    if not isinstance(value, kind):
        raise DataError(
            f"{where}: no {key!r} of the form that SQuAD has; found {str(table)[:80]!r}."
        )
    return value
