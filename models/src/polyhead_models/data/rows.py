"""Rows of files in any format, each with the place it came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polyhead.errors import nearest
from polyhead_models.data.formats import columnar, conll, json_files, tables
from polyhead_models.data.formats.base import FileLayout, Format, Row, each
from polyhead_models.data.formats.json_files import split_key
from polyhead_models.errors import DataError

__all__ = ["FORMATS", "FileLayout", "Row", "files", "places", "read"]

FORMATS: dict[str, Format] = {
    "jsonl": Format(read=each(json_files.read_lines), endings=("jsonl",)),
    "csv": Format(read=each(tables.read_csv), endings=("csv",), columns="allowed", header=True),
    "tsv": Format(read=each(tables.read_tsv), endings=("tsv",), columns="allowed", header=True),
    "json": Format(
        read=each(json_files.read_list),
        files=json_files.files,
        endings=("json",),
        columns="allowed",
    ),
    "conll": Format(read=each(conll.read), endings=("conll", "conllu", "iob2"), columns="needed"),
    "parallel": Format(read=tables.read_parallel, files=tables.parallel_files, columns="needed"),
    "squad": Format(read=each(json_files.read_squad)),
    "parquet": Format(read=each(columnar.read_parquet), endings=("parquet",)),
    "hub": Format(read=each(columnar.read_hub), files=lambda places, layout: []),
}

Place = str | Path | Sequence[str]


def read(place: Place, format: str | None = None, layout: FileLayout | None = None) -> list[Row]:
    """Read all rows of a place.

    Args:
        place: a file; a list of files, read one after another; or what else the format reads.
        format: a name in `FORMATS`; None goes by the ending of the (first) file.
        layout: names of columns and the like; None: the file says all itself.

    Raises:
        DataError: when a file is missing, empty, of an unknown format, not UTF-8, or has a row
            that cannot be read; names file and line.
    """
    found, layout = places(place), layout or FileLayout()
    shown = ", ".join(found)
    name = _format(found, format)
    _check(shown, name, layout)
    try:
        rows = list(FORMATS[name].read(found, layout))
    except FileNotFoundError as problem:
        raise DataError(f"{problem.filename or shown}: no such file.") from None
    except (IsADirectoryError, NotADirectoryError) as problem:
        raise DataError(
            f"{problem.filename or shown}: a folder; expected a file of rows."
        ) from None
    if not rows:
        raise DataError(f"{shown}: no rows; expected at least one.")
    return rows


def files(place: Place, format: str | None = None, layout: FileLayout | None = None) -> list[Path]:
    """The files that `read` would read, whether they exist or not.

    Raises:
        DataError: when the format is unknown, or the place does not fit it.
    """
    found = places(place)
    return FORMATS[_format(found, format)].files(found, layout or FileLayout())


def places(place: Place) -> list[str]:
    """One place or several as a list."""
    return [str(place)] if isinstance(place, str | Path) else list(place)


def _format(found: Sequence[str], format: str | None) -> str:
    if format is not None:
        return format
    ending = split_key(found[0])[0].suffix.lstrip(".")
    for name, known in FORMATS.items():
        if ending in known.endings:
            return name
    raise DataError(
        f"{', '.join(found)}: cannot tell the format from its ending; set format to one of"
        f" {', '.join(FORMATS)}.{nearest(ending, FORMATS)}"
    )


def _check(shown: str, name: str, layout: FileLayout) -> None:
    """Refuse a layout that the format does not take."""
    format = FORMATS[name]
    if format.columns == "needed" and not layout.columns:
        raise DataError(
            f"{shown}: format {name!r} needs the names of its columns: columns = [...]."
        )
    if format.columns == "refused" and layout.columns:
        raise DataError(f"{shown}: format {name!r} names its fields itself; leave columns out.")
    if not format.header and layout.header is not None:
        raise DataError(f"{shown}: format {name!r} has no header; leave header out.")
