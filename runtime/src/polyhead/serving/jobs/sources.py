"""Input files in, their rows out, piece by piece and chunk by chunk: what every format gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from pyarrow import fs

from polyhead.errors import InputError, InvalidSetting, nearest
from polyhead.serving.jobs.storage import located
from polyhead.text.encoding import Input

CHUNK_ROWS, CHUNK_BYTES, CHUNK_RECORD_BYTES = 2048, 2**18, 2**23
"""Most rows that are in memory at once, and about most bytes of their texts, of which a million
take 300 MB to answer, and of all their columns."""
ALL = "all"
"""In place of the names of kept columns."""
ID = "id"
"""The column that is kept where nothing else is said."""


@dataclass(frozen=True)
class Piece:
    """Rows of a file that follow each other.

    Attributes:
        first: number of the first row in the file, from 0.
        rows: how many, blank lines included.
        begin: first byte; 0 where the format finds rows by their numbers.
        end: one past the last byte.
    """

    first: int
    rows: int
    begin: int = 0
    end: int = 0


@dataclass(frozen=True)
class Chunk:
    """Some rows of a piece.

    Attributes:
        numbers: of the rows in the file, from 0.
        texts: what the engine is asked; of a row that cannot be read, why.
        kept: the kept columns, of the same rows.
        record: what was in a row of the chunk, as plain data, for people.
    """

    numbers: Sequence[int]
    texts: Sequence[Input | InputError | None]
    kept: pa.RecordBatch
    record: Callable[[int], Any]


class RowSource(Protocol):
    """A file in some format, open for reading."""

    kept: pa.Schema
    """The kept columns."""

    def pieces(self, rows: int) -> list[Piece]:
        """The file in pieces of so many rows; the last may have fewer. Empty for no rows."""
        ...

    def chunks(self, piece: Piece) -> Iterator[Chunk]:
        """The rows of a piece, without blank lines."""
        ...

    def texts(self, piece: Piece) -> Iterator[Sequence[Input | InputError | None]]:
        """The texts of a piece alone, as in its chunks."""
        ...


@dataclass(frozen=True)
class InputFile:
    """A file as it was when the job was planned.

    Attributes:
        path: or URL.
        size: in bytes.
        modified: nanoseconds since 1970; None where the file system does not say.
    """

    path: str
    size: int
    modified: int | None

    @classmethod
    def at(cls, path: str) -> InputFile:
        """The file that is there now.

        Raises:
            InputError: when there is none.
        """
        system, inside = located(path)
        info = system.get_file_info(inside)
        if not info.is_file:
            raise InputError(f"{path}: there is no such file.")
        return cls(path, info.size, info.mtime_ns)


def find(places: Iterable[str], endings: Iterable[str]) -> list[str]:
    """The files at `places`, in their order; of a folder all with known endings, sorted.

    In folders, names that begin with ``_`` or ``.`` are passed over, as other readers do.

    Raises:
        InputError: when nothing is at a place, or no file in a folder has a known ending.
        InvalidSetting: for a file of another ending.
    """
    known = tuple(endings)
    found: dict[str, None] = {}
    for place in places:
        system, path = located(place)
        info = system.get_file_info(path)
        if info.type == fs.FileType.Directory:
            inside = system.get_file_info(fs.FileSelector(path, recursive=True))
            names = sorted(each.path for each in inside if each.is_file and _is_data(each, path))
            names = [name for name in names if name.lower().endswith(known)]
            if not names:
                raise InputError(f"{place}: no file in this folder ends in {', '.join(known)}.")
            found |= dict.fromkeys(_url(system, name) for name in names)
        elif not info.is_file:
            raise InputError(f"{place}: there is no such file or folder.")
        elif not place.lower().endswith(known):
            raise InvalidSetting(
                f"{place}: expected a name that ends in {', '.join(known)}. Unpack or convert it"
                " first."
            )
        else:
            found[place if "://" in place else path] = None
    return list(found)


def _is_data(info: fs.FileInfo, folder: str) -> bool:
    parts = info.path.removeprefix(folder).split("/")
    return not any(part.startswith(("_", ".")) for part in parts)


def _url(system: fs.FileSystem, path: str) -> str:
    if isinstance(system, fs.LocalFileSystem):
        return path
    return str(system.handler.fs.unstrip_protocol(path))


def kept_names(asked: Sequence[str] | None, known: Sequence[str], where: str) -> list[str]:
    """The names of the kept columns; None keeps `ID` where there is one.

    Raises:
        InputError: for one that is not there.
    """
    if asked is None:
        return [ID] if ID in known else []
    if list(asked) == [ALL]:
        return list(known)
    require(asked, known, where)
    return list(asked)


def require(asked: Iterable[str], known: Sequence[str], where: str) -> None:
    """See that columns are there.

    Raises:
        InputError: names the nearest.
    """
    for name in asked:
        if name not in known:
            there = ", ".join(map(repr, known)) or "none"
            raise InputError(
                f"{where}: no column {name!r}; there is {there}.{nearest(name, known)}"
            )


def inputs(columns: Sequence[Sequence[Any]]) -> list[Any]:
    """What the engine is asked, of one column of texts or of two."""
    first, *second = columns
    return list(zip(first, second[0], strict=True)) if second else list(first)
