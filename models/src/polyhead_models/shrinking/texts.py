"""Texts without labels, from files and folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polyhead.system.lines import read_lines
from polyhead_models.data import rows
from polyhead_models.errors import DataError

_KEY = "text"
_ENDINGS = (".txt", *(f".{e}" for known in rows.FORMATS.values() for e in known.endings))


def files(places: Sequence[Path]) -> list[Path]:
    """The files of all places.

    Args:
        places: files, or folders, of which all files count that `read` reads.

    Raises:
        DataError: when a place is missing, or a folder without such a file.
    """
    found = []
    for place in places:
        inside = [place] if place.is_file() else []
        if place.is_dir():
            inside = sorted(file for file in place.rglob("*") if file.suffix in _ENDINGS)
        if not inside:
            raise DataError(f"{place}: no file of texts here; expected {', '.join(_ENDINGS)}.")
        found += inside
    return found


def read(places: Sequence[Path]) -> list[str]:
    """The texts of all places, each once, in their order.

    Args:
        places: as for `files`: ``.txt`` with a text a line; what else training reads, such as
            ``.jsonl``, with the key ``"text"``. Blank lines are passed over.

    Raises:
        DataError: when a place is missing or cannot be read, or a row has no text.
    """
    return list(dict.fromkeys(text for file in files(places) for text in _of(file)))


def _of(file: Path) -> list[str]:
    if file.suffix == ".txt":
        try:
            texts = [text.strip() for _, text in read_lines(file, DataError)]
        except OSError as problem:
            raise DataError(f"{file}: cannot be read: {problem.strerror}.") from problem
        return [text for text in texts if text]
    made = []
    for row in rows.read(file):
        text = row.fields.get(_KEY)
        if not isinstance(text, str):
            raise DataError(f"{row.where}: {_KEY!r}: found {text!r}, expected a text.")
        if text.strip():
            made.append(text)
    return made
