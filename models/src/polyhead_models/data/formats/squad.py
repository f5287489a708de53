"""SQuAD 1.1 and 2.0: one row a question (Rajpurkar et al. 2016, 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polyhead_models.data.formats.base import FileLayout, Row
from polyhead_models.data.formats.json_files import items
from polyhead_models.errors import DataError


def read(place: str, layout: FileLayout) -> Iterator[Row]:
    """Rows with id, question, context, answers and impossible.

    ``answers`` is a list of ``{text, start}``, start in code points of the context; empty where the
    context has no answer, and then ``impossible`` is true in SQuAD 2.0.

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
    answers = [
        {
            "text": _part(answer, "text", str, where),
            "start": _part(answer, "answer_start", int, where),
        }
        for answer in _part(question, "answers", list, where)
    ]
    fields = {
        "id": str(_part(question, "id", (str, int), where)),
        "question": _part(question, "question", str, where),
        "context": context,
        "answers": answers,
        "impossible": bool(question.get("is_impossible", False)),
    }
    return Row(where, fields)


def _part(table: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    value = table.get(key) if isinstance(table, dict) else None
    if not isinstance(value, kind):
        raise DataError(
            f"{where}: no {key!r} of the form that SQuAD has; found {str(table)[:80]!r}."
        )
    return value
