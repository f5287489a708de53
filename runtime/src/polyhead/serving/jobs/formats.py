"""Which reader a file has, by the ending of its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from polyhead.serving.jobs.line_rows import CsvRows, JsonRows
from polyhead.serving.jobs.parquet_rows import ParquetRows
from polyhead.serving.jobs.sources import RowSource
from polyhead.serving.jobs.storage import located

_Reader = Callable[[Any, str, Sequence[str], Sequence[str] | None], RowSource]
_READERS: dict[str, _Reader] = {
    ".parquet": ParquetRows,
    ".jsonl": JsonRows,
    ".ndjson": JsonRows,
    ".csv": CsvRows,
}
ENDINGS = tuple(_READERS)


@contextmanager
def opened(path: str, read: Sequence[str], keep: Sequence[str] | None) -> Iterator[RowSource]:
    """The rows of a file.

    Args:
        path: or URL; ends in one of `ENDINGS`.
        read: the columns of texts, one or two.
        keep: the columns that are kept; None for the default.

    Raises:
        InputError: when it cannot be read, or lacks a column.
        OSError: when it cannot be opened.
    """
    reader = next(each for ending, each in _READERS.items() if path.lower().endswith(ending))
    system, inside = located(path)
    with system.open_input_file(inside) as file:
        yield reader(file, path, read, keep)
