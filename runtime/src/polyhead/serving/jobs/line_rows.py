"""Rows of JSON lines and of CSV: UTF-8, found by the bytes at which they begin."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from polyhead.errors import InputError, InvalidSetting, InvalidText
from polyhead.serving.jobs.sources import (
    ALL,
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

_BLOCK = 2**20
_LONGEST = 2**26  # bytes of a row
_SAMPLE = 1_000  # rows that say of what types the kept keys are
_BOM = b"\xef\xbb\xbf"


class LineRows(ABC):
    """What both formats have in common."""

    _quoted = False
    """Whether line ends between quotes end no row."""

    def __init__(self, file: Any, where: str) -> None:
        self._file, self._where, self._start = file, where, 0
        self._size = file.size()
        self.kept = pa.schema([])

    def pieces(self, rows: int) -> list[Piece]:
        """As `RowSource` says; reads the file once."""
        found, first, begin, count, inside, last = [], 0, self._start, 0, 0, b""
        self._file.seek(self._start)
        position = self._start
        while block := self._file.read(_BLOCK):
            data = np.frombuffer(block, np.uint8)
            ends = data == ord("\n")
            if self._quoted:
                quotes = (np.cumsum(data == ord('"')) + inside) & 1
                ends &= quotes == 0
                inside = int(quotes[-1])
            places = np.flatnonzero(ends)
            for place in places[rows - count - 1 :: rows].tolist():
                end = position + place + 1
                found.append(Piece(first, rows, begin, end))
                first, begin = first + rows, end
            count = (count + len(places)) % rows
            position += len(block)
            last = block[-1:]
        if begin < position:
            unended = bool(inside) or last != b"\n"
            found.append(Piece(first, count + unended, begin, position))
        return found

    def chunks(self, piece: Piece) -> Iterator[Chunk]:
        """As `RowSource` says."""
        numbers: list[int] = []
        texts: list[Input | InputError] = []
        records: list[bytes] = []
        rows: list[Sequence[Any]] = []
        size = read = 0
        for number, record in self._numbered(piece):
            text, kept = self._parsed(record)
            numbers.append(number)
            texts.append(text)
            records.append(record)
            rows.append(kept)
            size += len(record)
            read += 0 if isinstance(text, InputError) else len("".join(text))
            if read >= CHUNK_BYTES or size >= CHUNK_RECORD_BYTES or len(rows) == CHUNK_ROWS:
                yield self._chunk(numbers, texts, rows, records)
                numbers, texts, rows, records, size, read = [], [], [], [], 0, 0
        if rows:
            yield self._chunk(numbers, texts, rows, records)

    def texts(self, piece: Piece) -> Iterator[Sequence[Input | InputError | None]]:
        """As `RowSource` says."""
        for _, record in self._numbered(piece):
            yield [self._parsed(record)[0]]

    def _chunk(
        self,
        numbers: Sequence[int],
        texts: Sequence[Input | InputError],
        rows: Sequence[Sequence[Any]],
        records: Sequence[bytes],
    ) -> Chunk:
        nothing = (None,) * len(self.kept)
        columns = zip(*(row or nothing for row in rows), strict=True)
        arrays = [pa.array(c, t) for c, t in zip(columns, self.kept.types, strict=False)]
        if arrays:
            kept = pa.RecordBatch.from_arrays(arrays, schema=self.kept)
        else:
            kept = pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows), pa.struct([])))
        return Chunk(numbers, texts, kept, lambda row: _shown(records[row]))

    def _numbered(self, piece: Piece) -> Iterator[tuple[int, bytes]]:
        """Records with their numbers, blank ones left out."""
        records = self._records(piece.begin, piece.end)
        for number, (_, record) in enumerate(records, piece.first):
            if record.strip():
                yield number, record

    def _records(self, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Records without their line ends, each behind the byte at which the next begins.

        A byte order mark is passed over.
        """
        self._file.seek(begin)
        rest, left, open_ = b"", end - begin, list[bytes]()
        mark = begin == 0
        while left:
            block = self._file.read(min(left, _BLOCK))
            if not block:
                raise InputError(f"{self._where}: shorter than it was. Run the job again.")
            left -= len(block)
            *lines, rest = (rest + block).split(b"\n")
            if not left and rest:
                lines.append(rest)
            for line in lines:
                begin = min(begin + len(line) + 1, end)
                if mark:
                    line, mark = line.removeprefix(_BOM), False
                if self._quoted and (open_ or line.count(b'"') % 2):
                    open_.append(line)
                    if len(open_) > 1 and line.count(b'"') % 2:
                        yield begin, b"\n".join(open_).removesuffix(b"\r")
                        open_.clear()
                else:
                    yield begin, line.removesuffix(b"\r")
            if len(rest) + sum(map(len, open_)) > _LONGEST:
                raise InputError(
                    f"{self._where}: a row of over {_LONGEST:,} bytes ends at byte {end - left:,}"
                    " or later. Is a quote missing, or every line end?"
                )
        if open_:
            yield end, b"\n".join(open_)

    @abstractmethod
    def _parsed(self, record: bytes) -> tuple[Input | InputError, Sequence[Any]]:
        """What the engine is asked, or why it cannot be, and the kept values; () for none."""


class JsonRows(LineRows):
    """Objects, a line each; a line may also be a text, or a list of two for a pair."""

    def __init__(self, file: Any, where: str, read: Sequence[str], keep: Sequence[str] | None):
        """Look at the first rows, which say what keys and types there are.

        Raises:
            InputError: when none of them has a key that is asked for.
            InvalidSetting: when all keys are to be kept, of which only the first rows are known.
        """
        super().__init__(file, where)
        self._read = list(read)
        if keep is not None and list(keep) == [ALL]:
            raise InvalidSetting(
                f"{where}: --keep {ALL}: rows of JSON lines may have any keys. Name those to keep."
            )
        seen: dict[str, list[Any]] = defaultdict(list)
        sample = list(islice(self._records(0, self._size), _SAMPLE))
        for _, record in sample:
            try:
                row = _loaded(record)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                for key, value in row.items():
                    seen[key].append(value)
        if seen:
            require(self._read, list(seen), where)
        names = kept_names(keep, list(seen), where) if sample else []
        types = {name: _type_of(seen[name]) for name in names}
        self.kept = pa.schema([(n, pa.string() if t is None else t) for n, t in types.items()])
        self._types = types

    def _parsed(self, record: bytes) -> tuple[Input | InputError, Sequence[Any]]:
        try:
            row = _loaded(record)
        except (ValueError, RecursionError) as problem:
            return InvalidText(f"not a JSON line: {problem}"), ()
        if isinstance(row, str) and len(self._read) == 1:
            found: Any = [row]
        elif isinstance(row, list):
            found = row
        else:
            found = [row.get(key) for key in self._read] if isinstance(row, dict) else []
        if len(found) != len(self._read) or not all(isinstance(text, str) for text in found):
            return InvalidText(f"no text under {' and '.join(map(repr, self._read))}"), ()
        fields = row if isinstance(row, dict) else {}
        kept = []
        for name, type_ in self._types.items():
            try:
                kept.append(_fitting(fields.get(name), type_))
            except (ValueError, TypeError) as problem:
                return InvalidText(f"the key {name!r}: {problem}"), ()
        return inputs([[text] for text in found])[0], kept


class CsvRows(LineRows):
    """Cells, with names in the first row; all are texts, and an empty one of `read` is none."""

    _quoted = True

    def __init__(self, file: Any, where: str, read: Sequence[str], keep: Sequence[str] | None):
        """Read the header.

        Raises:
            InputError: when it is not UTF-8, or lacks a column or has it twice.
        """
        super().__init__(file, where)
        csv.field_size_limit(_LONGEST)
        rows = ((end, record) for end, record in self._records(0, self._size) if record.strip())
        self._start, header = next(rows, (self._size, b""))
        self._names: list[str] = []
        if header:
            try:
                self._names = _cells(header)
            except (ValueError, csv.Error) as problem:
                raise InputError(f"{where}: the first row: {problem}") from problem
            names = kept_names(keep, self._names, where)
            require(read, self._names, where)
            for name in (*read, *names):
                if self._names.count(name) > 1:
                    raise InputError(f"{where}: the column {name!r} is duplicated.")
            self.kept = pa.schema([(name, pa.string()) for name in names])
        self._read = list(read)

    def _parsed(self, record: bytes) -> tuple[Input | InputError, Sequence[Any]]:
        try:
            cells = _cells(record)
        except (ValueError, csv.Error) as problem:
            return InvalidText(f"not a row of CSV: {problem}"), ()
        if len(cells) != len(self._names):
            return InvalidText(f"found {len(cells)} columns, expected {len(self._names)}"), ()
        row = dict(zip(self._names, cells, strict=True))
        texts = [row[name] for name in self._read]
        if not all(texts):
            empty = next(n for n in self._read if not row[n])
            return InvalidText(f"no text in the column {empty!r}"), ()
        return inputs([[text] for text in texts])[0], [row[name] for name in self.kept.names]


def _loaded(record: bytes) -> Any:
    return json.loads(record.decode("utf-8"), parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is none of JSON's numbers")


def _cells(record: bytes) -> list[str]:
    [cells] = csv.reader([record.decode("utf-8")], strict=True)
    return cells


def _type_of(values: Sequence[Any]) -> pa.DataType | None:
    """The type of a key by its first values; None for what is kept as JSON."""
    found = {type(value) for value in values if value is not None}
    if found <= {str}:
        return pa.string()
    if found == {bool}:
        return pa.bool_()
    if found == {int}:
        return pa.int64()
    return pa.float64() if found <= {int, float} else None


def _fitting(value: Any, type_: pa.DataType | None) -> Any:
    """A value that the column takes.

    Raises:
        ValueError: for one that does not fit.
    """
    if type_ is None:
        return json.dumps(value)
    if value is None:
        return None
    allowed: Any = {pa.string(): str, pa.bool_(): bool, pa.int64(): int}.get(type_, (int, float))
    if not isinstance(value, allowed) or (isinstance(value, bool) and type_ != pa.bool_()):
        raise ValueError(f"found {value!r}, expected {type_} as in the first rows")
    if type_ == pa.string():
        value.encode("utf-8")  # no lone surrogates
    elif type_ == pa.int64() and not -(2**63) <= value < 2**63:
        raise ValueError(f"found {value}, which has more than 64 bits")
    return value if type_ != pa.float64() else float(value)


def _shown(record: bytes) -> Any:
    """A record as a text; as numbers in hexadecimal where it is none."""
    try:
        return record.decode("utf-8")
    except UnicodeDecodeError:
        return {"hex": record.hex()}
