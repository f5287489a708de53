"""Parallel files: the n-th lines of all files make the n-th row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from polyhead_models.data.formats.base import FileLayout, Row, lines, named
from polyhead_models.errors import DataError


def read(places: Sequence[str], layout: FileLayout) -> Iterator[Row]:
    """One row a line; lines that are blank in all files are passed over.

    White space around a line is dropped; a line that is then empty is an absent value. A row's
    place is its line in the first file.

    Raises:
        DataError: when the files have different numbers of lines.
    """
    paths = files(places, layout)
    columns = [[line.strip() or None for _, line in lines(path)] for path in paths]
    if len({len(column) for column in columns}) > 1:
        counts = ", ".join(
            f"{path} has {len(column):,}" for path, column in zip(paths, columns, strict=True)
        )
        raise DataError(f"{paths[0]}: the files have different numbers of lines: {counts}.")
    for number, cells in enumerate(zip(*columns, strict=True), start=1):
        if any(cells):
            yield Row(f"{paths[0]}:{number}", named(layout.columns, cells))


def files(places: Sequence[str], layout: FileLayout) -> list[Path]:
    """The files, in the order of the columns.

    Args:
        places: a folder whose files the columns name, or one file a column.
        layout: names the columns.

    Raises:
        DataError: when there are not as many files as columns.
    """
    if len(places) == 1 and Path(places[0]).is_dir():
        return [Path(places[0]) / name for name in layout.columns]
    if len(places) != len(layout.columns):
        raise DataError(
            f"{', '.join(places)}: found {len(places)} files, expected {len(layout.columns)}, one a"
            f" column ({', '.join(layout.columns)}), or a folder that has them."
        )
    return [Path(place) for place in places]
