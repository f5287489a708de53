"""What a file format offers: rows, each with the place it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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


@dataclass(frozen=True, kw_only=True)
class FileLayout:
    """What the configuration says of a file next to its place.

    Attributes:
        columns: names of the columns, by position; empty where the file names them itself. What is
            called ``""`` or ``"_"`` is left out.
        header: whether the first line names the columns; None: exactly when `columns` is empty.
        split: the hub's split where the place names none.
    """

    columns: tuple[str, ...] = ()
    header: bool | None = None
    split: str = "train"


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


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 file, ends kept; a byte order mark is dropped.

    Raises:
        DataError: names the first line that is not UTF-8.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as problem:
                raise DataError(
                    f"{path}:{number}: not UTF-8: byte 0x{line[problem.start]:02x} at byte"
                    f" {problem.start + 1} of the line. Convert the file first."
                ) from problem
            yield number, text.removeprefix("\ufeff") if number == 1 else text


def without_end(line: str) -> str:
    """A line without its line end, of Unix or Windows."""
    return line.removesuffix("\n").removesuffix("\r")
