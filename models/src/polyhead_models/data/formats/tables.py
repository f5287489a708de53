"""CSV (RFC 4180), TSV (IANA: a cell has neither quotes, tabs nor line ends), and parallel files.

By Python's csv, because the readers of pyarrow and datasets (26.0, 5.2) know no line of the file
where a row is wrong, and take a quote that is never closed as a cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from polyhead.system.lines import Records, csv_records, tsv_records
from polyhead_models.data.formats.base import FileLayout, Row, lines, named
from polyhead_models.errors import DataError


def read_csv(place: str, layout: FileLayout) -> Iterator[Row]:
    """One row a record; blank lines are passed over, and an empty cell is an absent value.

    Raises:
        DataError: for a record that is no CSV or has another number of columns.
    """
    return _rows(place, csv_records(lines(Path(place)), place, DataError), layout)


def read_tsv(place: str, layout: FileLayout) -> Iterator[Row]:
    """One row a line; blank lines are passed over, and an empty cell is an absent value.

    Raises:
        DataError: for a line that has another number of columns.
    """
    return _rows(place, tsv_records(lines(Path(place))), layout)


def _rows(place: str, records: Records, layout: FileLayout) -> Iterator[Row]:
    columns = list(layout.columns)
    if layout.header or (layout.header is None and not columns):
        for line, header in records:
            _check_header(f"{place}:{line}", header, columns)
            columns = columns or header
            break
    for line, cells in records:
        where = f"{place}:{line}"
        if len(cells) != len(columns):
            problem = (
                f"{where}: found {len(cells)} columns, expected {len(columns)}:"
                f" {', '.join(columns)}."
            )
            layout.refuse(DataError(problem))
            continue
        yield Row(where, named(columns, [cell or None for cell in cells]))


def _check_header(where: str, header: list[str], columns: list[str]) -> None:
    if columns and len(columns) != len(header):
        raise DataError(
            f"{where}: found a header of {len(header)} columns ({', '.join(header)}), but columns"
            f" names {len(columns)}: {', '.join(columns)}."
        )
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice and not columns:
        raise DataError(
            f"{where}: the column {twice[0]!r} is duplicated in the header. Name the columns with"
            " columns = [...] and header = true."
        )


def read_parallel(places: Sequence[str], layout: FileLayout) -> Iterator[Row]:
    """The n-th lines of all files as a row; lines that are blank in all of them are passed over.

    White space around a line is dropped; a line that is then empty is an absent value. A row's
    place is its line in the first file.

    Raises:
        DataError: when the files have different numbers of lines.
    """
    paths = parallel_files(places, layout)
    columns = [[line.strip() or None for _, line in lines(path)] for path in paths]
    if len({len(column) for column in columns}) > 1:
        counts = ", ".join(
            f"{path} has {len(column):,}" for path, column in zip(paths, columns, strict=True)
        )
        raise DataError(f"{paths[0]}: the files have different numbers of lines: {counts}.")
    for number, cells in enumerate(zip(*columns, strict=True), start=1):
        if any(cells):
            yield Row(f"{paths[0]}:{number}", named(layout.columns, cells))


def parallel_files(places: Sequence[str], layout: FileLayout) -> list[Path]:
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
