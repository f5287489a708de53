"""The numbered lines of a text file: UTF-8 whatever the locale, by the line ends of any system."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from polyhead.errors import PolyheadError

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
