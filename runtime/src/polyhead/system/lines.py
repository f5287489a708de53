"""Numbered lines and records of a text file: UTF-8 in any locale, with any system's line ends."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from polyhead.errors import PolyheadError

Lines = Iterable[tuple[int, str]]
Records = Iterator[tuple[int, list[str]]]

_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_WIDE = re.compile(rb"\0.\0|.\0.\0|.\0\n", re.DOTALL)  # ASCII in UTF-16 and UTF-32


def read_lines(path: Path, error: type[PolyheadError]) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers from 1; see `decoded`.

    Raises:
        PolyheadError: as `decoded` does.
        OSError: when the file cannot be read.
    """
    with path.open("rb") as file:
        yield from decoded(file, str(path), error)


def decoded(
    lines: Iterable[bytes], name: str, error: type[PolyheadError]
) -> Iterator[tuple[int, str]]:
    r"""Lines as text, ends kept, with their numbers from 1; a byte order mark is passed over.

    A line ends with ``\n``. Only where a file has none, it ends with ``\r``. Other characters that
    Unicode calls line ends, such as U+2028, are characters of a line.

    Args:
        lines: of a binary file.
        name: of the file, for messages.
        error: the class to raise.

    Raises:
        PolyheadError: as `error`, for a line that is not UTF-8; names it, and the encoding where it
            is UTF-16 or UTF-32.
    """
    for number, line in enumerate(lines, start=1):
        if number == 1:
            _refuse_other_encodings(line, name, error)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as problem:
            raise error(
                f"{name}:{number}: not UTF-8: byte 0x{line[problem.start]:02x} at byte"
                f" {problem.start + 1} of the line. Convert the file first."
            ) from problem
        if number > 1:
            yield number, text
        elif text.endswith("\n"):
            yield number, text.removeprefix("\ufeff")
        else:
            old = re.findall(r"[^\r]+\r?|\r", text.removeprefix("\ufeff"))
            yield from enumerate(old, start=1)


def _refuse_other_encodings(line: bytes, name: str, error: type[PolyheadError]) -> None:
    """By the byte order mark of the first line, or by the NULs of its first characters."""
    found = next((known for mark, known in _MARKS.items() if line.startswith(mark)), None)
    if found is not None or _WIDE.match(line):
        raise error(
            f"{name}:1: found {found or 'UTF-16 or UTF-32'}, expected UTF-8. Convert the file"
            f" first, as with 'iconv -f {found or 'UTF-16LE'} -t UTF-8'."
        )


def csv_records(lines: Lines, name: str, error: type[PolyheadError]) -> Records:
    """The cells of each record of CSV (RFC 4180), with the line on which it begins.

    Blank lines are passed over.

    Raises:
        PolyheadError: as `error`, for what is no CSV, such as a quote that is never closed.
    """
    csv.field_size_limit(2**31 - 1)  # a text may have more than 131,072 characters
    reader = csv.reader((line for _, line in lines), strict=True)
    understood = 0  # an open quote lets the reader run on to the end of the file
    try:
        for cells in reader:
            if cells:
                yield understood + 1, cells
            understood = reader.line_num
    except csv.Error as problem:
        raise error(f"{name}:{understood + 1}: not valid CSV: {problem}.") from problem


def tsv_records(lines: Lines) -> Records:
    """The cells of each line of TSV (IANA: a cell has neither quotes, tabs nor line ends)."""
    for number, line in lines:
        if text := without_end(line):
            yield number, text.split("\t")


def without_end(line: str) -> str:
    """A line without its line end, of Unix, Windows or an old Mac."""
    return line.removesuffix("\n").removesuffix("\r")


def count_lines(path: Path) -> int:
    """How many lines a file has, nearly: by its bytes, since that is quick."""
    with path.open("rb") as file:
        return 1 + sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))
