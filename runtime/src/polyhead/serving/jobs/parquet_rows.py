"""Rows of a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from polyhead.errors import InputError
from polyhead.serving.jobs.sources import (
    CHUNK_BYTES,
    CHUNK_RECORD_BYTES,
    CHUNK_ROWS,
    Chunk,
    Piece,
    inputs,
    kept_names,
    require,
)
from polyhead.text.encoding import Input

_BUFFER = 2**20  # bytes of a column that are read at once


class ParquetRows:
    """Reads as much of a row group as a chunk needs, however large the group is."""

    def __init__(self, file: Any, where: str, read: Sequence[str], keep: Sequence[str] | None):
        """Look at the schema.

        Args:
            file: open for reading.
            where: the path, for messages.
            read: the columns of texts, one or two.
            keep: the columns that are kept; None for the default.

        Raises:
            InputError: for what is no Parquet file, or lacks a column.
        """
        try:
            self._file = parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
        except (pa.ArrowException, OSError) as problem:
            raise InputError(f"{where}: cannot be read as Parquet: {problem}") from problem
        schema = self._file.schema_arrow
        require(read, schema.names, where)
        for name in read:
            if not _is_text(schema.field(name).type):
                raise InputError(
                    f"{where}: the column {name!r} is of the type {schema.field(name).type},"
                    " expected string. Name another."
                )
        self._read, self._where = list(read), where
        self.kept = pa.schema([schema.field(n) for n in kept_names(keep, schema.names, where)])

    def pieces(self, rows: int) -> list[Piece]:
        """As `RowSource` says."""
        total = self._file.metadata.num_rows
        return [Piece(first, min(rows, total - first)) for first in range(0, total, rows)]

    def chunks(self, piece: Piece) -> Iterator[Chunk]:
        """As `RowSource` says."""
        first = piece.first
        for batch in self._batches(piece, [*self._read, *self.kept.names]):
            texts = inputs([batch.column(name).to_pylist() for name in self._read])
            kept = batch.select(self.kept.names)
            numbers = range(first, first + len(texts))
            yield Chunk(numbers, texts, kept, partial(_record, batch))
            first += len(texts)

    def texts(self, piece: Piece) -> Iterator[Sequence[Input | InputError | None]]:
        """As `RowSource` says."""
        for batch in self._batches(piece, self._read):
            yield inputs([batch.column(name).to_pylist() for name in self._read])

    def _batches(self, piece: Piece, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of a piece, some at a time."""
        groups, before = [], 0  # those that have rows of it, and the rows of those in front
        begin, end = piece.first, piece.first + piece.rows
        start = 0
        for group in range(self._file.num_row_groups):
            stop = start + self._file.metadata.row_group(group).num_rows
            if start < end and stop > begin:
                groups.append(group)
            elif stop <= begin:
                before = stop
            start = stop
        skip, left = begin - before, piece.rows
        try:
            for batch in self._file.iter_batches(
                self._rows_at_once(groups, names),
                row_groups=groups,
                columns=list(dict.fromkeys(names)),
                use_threads=False,
            ):
                wanted = batch.slice(skip, left)
                skip = max(0, skip - len(batch))
                left -= len(wanted)
                if len(wanted):
                    yield wanted
                if not left:
                    return
        except (pa.ArrowException, OSError) as problem:
            raise InputError(f"{self._where}: cannot be read: {problem}") from problem

    def _rows_at_once(self, groups: Sequence[int], names: Sequence[str]) -> int:
        """So many that they have about the bytes of a chunk, by what the file says of sizes."""
        texts = records = rows = 0
        for group in map(self._file.metadata.row_group, groups):
            rows += group.num_rows
            for column in map(group.column, range(group.num_columns)):
                name = column.path_in_schema.partition(".")[0]
                if name in self._read:
                    texts += column.total_uncompressed_size
                elif name in names:
                    records += column.total_uncompressed_size
        bounds = (CHUNK_BYTES, texts), (CHUNK_RECORD_BYTES, texts + records)
        return max(1, min(CHUNK_ROWS, *(rows * most // max(size, 1) for most, size in bounds)))


def _record(batch: pa.RecordBatch, row: int) -> Any:
    return batch.slice(row, 1).to_pylist()[0]


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return bool(
        pa.types.is_string(type_) or pa.types.is_large_string(type_) or type_ == pa.string_view()
    )
