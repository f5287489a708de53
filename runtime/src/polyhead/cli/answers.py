"""Answers as they are written: a page for people, JSON lines, or the rows of a CSV file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from polyhead import InputError, InvalidSetting, Prediction
from polyhead.cli import output
from polyhead.cli.texts import TextRow

Write = Callable[[TextRow, Prediction], object]


@dataclass(frozen=True, kw_only=True)
class AnswerForm:
    """What of a row and its answer is written.

    Attributes:
        keep: keys of the row, besides `id`; one that a row does not have is null.
        read: keys of the row that are in the answer anyway, as its texts.
        digits: behind the decimal point; None for all.
    """

    keep: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    digits: int | None = None

    def record(self, row: TextRow, prediction: Prediction) -> dict[str, Any]:
        """The answer as plain data, whole, after what is kept of the row."""
        return self._with_kept(row, prediction.to_dict())

    def cells(self, row: TextRow, prediction: Prediction) -> dict[str, Any]:
        """The answer as one row of a table; lists are JSON."""
        return {
            name: json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
            for name, value in self._with_kept(row, prediction.to_row()).items()
        }

    def _with_kept(self, row: TextRow, answer: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: row.fields.get(name) for name in self.keep if name not in self.read}
        if "id" in row.fields:
            kept = {"id": row.fields["id"], **kept}
        if clash := [name for name in kept if name in answer]:
            raise InvalidSetting(
                f"{row.where}: {clash[0]!r} cannot be kept: the answer has something of this name."
                " Rename it in the file."
            )
        return {**kept, **_rounded(answer, self.digits)}


@contextmanager
def opened(target: Path | None, form: AnswerForm, *, page: bool) -> Iterator[Write]:
    """Gives what writes an answer; a file has whole lines whatever ends the block.

    A file that is there is replaced when the first answer comes, or when the block has ended well
    without any; what fails before leaves it.

    Args:
        target: a file that ends in ``.jsonl`` or ``.csv``; None for standard output.
        form: what is written.
        page: for people, on standard output.
    """
    if target is None:
        if page:
            yield lambda row, prediction: output.write(_page(prediction))
        else:
            yield lambda row, found: output.write_json(form.record(row, found), indent=None)
        return
    with ExitStack() as stack:

        @cache
        def file() -> TextIO:
            target.parent.mkdir(parents=True, exist_ok=True)
            # As on standard output: what is no Unicode, in an id say, is written by its numbers.
            return stack.enter_context(
                target.open("w", encoding="utf-8", errors="backslashreplace", newline="")
            )

        if target.suffix.lower() == ".csv":
            yield _Table(file, form).write
        else:
            yield lambda row, found: file().write(output.as_json(form.record(row, found)) + "\n")
        file()


class _Table:
    """A CSV file, whose columns are those of its first row."""

    def __init__(self, file: Callable[[], TextIO], form: AnswerForm) -> None:
        self._file, self._form = file, form
        self._columns: list[str] = []

    def write(self, row: TextRow, prediction: Prediction) -> None:
        cells = self._form.cells(row, prediction)
        writer = csv.writer(self._file(), lineterminator="\n")
        if not self._columns:
            self._columns = list(cells)
            writer.writerow(self._columns)
        if list(cells) != self._columns:
            other = {*cells} ^ {*self._columns}
            raise InputError(
                f"{row.where}: {', '.join(sorted(map(repr, other)))}: not in all rows, and a CSV"
                " file has the same columns in all. Write JSON lines: --output FILE.jsonl."
            )
        writer.writerow(cells.values())


def _page(prediction: Prediction) -> str:
    """The answer for a person."""
    indented = str(prediction).replace("\n", "\n  ")
    query = "" if prediction.query is None else f"{prediction.query}\n"
    return f"{query}{prediction.text}\n  {indented}\n"


def _rounded(value: Any, digits: int | None) -> Any:
    """Plain data with floats rounded."""
    if digits is None:
        return value
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, Mapping):
        return {name: _rounded(item, digits) for name, item in value.items()}
    return [_rounded(item, digits) for item in value] if isinstance(value, list) else value
