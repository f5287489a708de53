"""What a file format offers: rows, each with the place it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from polyhead.system.lines import read_lines
from polyhead_models.errors import DataError


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        where: ``file:line``, for messages; ``file, row N`` where a format has no lines.
        fields: values by key; None and an absent key mean the same.
    """

    where: str
    fields: Mapping[str, Any]


def raised(problem: DataError) -> None:
    """Refuse a bad row at once."""
    raise problem


@dataclass(frozen=True, kw_only=True)
class FileLayout:
    """What the configuration says of a file next to its place.

    Attributes:
        columns: names of the columns, by position; empty where the file names them itself. What is
            called ``""`` or ``"_"`` is left out.
        header: whether the first line names the columns; None: exactly when `columns` is empty.
        split: the hub's split where the place names none.
        refuse: is told what is wrong with a row that cannot be read; when it returns, the reader
            goes on with the next.
    """

    columns: tuple[str, ...] = ()
    header: bool | None = None
    split: str = "train"
    refuse: Callable[[DataError], None] = raised


ReadPlaces = Callable[[Sequence[str], FileLayout], Iterator[Row]]


def each(read: Callable[[str, FileLayout], Iterable[Row]]) -> ReadPlaces:
    """A reader of one place as a reader of several, one after another."""

    def read_all(places: Sequence[str], layout: FileLayout) -> Iterator[Row]:
        for place in places:
            yield from read(place, layout)

    return read_all


def plain_files(places: Sequence[str], layout: FileLayout) -> list[Path]:
    """The places themselves."""
    return [Path(place) for place in places]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A file format.

    Attributes:
        read: rows of one or more places.
        files: the files that `read` reads; none for what is not on this machine.
        endings: of file names, without the dot, that tell the format.
        columns: whether the configuration may, must or must not name the columns.
        header: whether the configuration may say that there is a header.
    """

    read: ReadPlaces
    files: Callable[[Sequence[str], FileLayout], list[Path]] = plain_files
    endings: tuple[str, ...] = ()
    columns: Literal["refused", "allowed", "needed"] = "refused"
    header: bool = False


def named(columns: Sequence[str], cells: Sequence[Any]) -> dict[str, Any]:
    """Cells by the names of their columns; columns called ``""`` or ``"_"`` are left out."""
    pairs = zip(columns, cells, strict=False)
    return {name: cell for name, cell in pairs if name not in ("", "_")}


lines = partial(read_lines, error=DataError)
"""Numbered lines of a file; what is not UTF-8 is a `DataError`."""
