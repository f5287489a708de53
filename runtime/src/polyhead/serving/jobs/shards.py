"""A shard of rows in, a file of their answers out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from polyhead.engine import Engine
from polyhead.errors import GraphError, InputError, PolyheadError
from polyhead.prediction import Prediction
from polyhead.serving.jobs.columns import ResultColumns, reason, refuse_clash
from polyhead.serving.jobs.formats import opened
from polyhead.serving.jobs.sources import Chunk, InputFile, Piece
from polyhead.serving.jobs.state import JobSettings, ShardCounts
from polyhead.serving.jobs.storage import OutputFolder
from polyhead.system.info import __version__
from polyhead.system.schema import plain
from polyhead.text.encoding import Input

FILE, ROW = "input_file", "input_row"
"""Columns that say where a row came from."""
_GROUP_BYTES = 2**23  # of a row group
_MOST_REMEMBERED = 4096  # answers; some kilobytes each


class ShardWriter:
    """Answers shards, one after another, with one engine."""

    def __init__(
        self, engine: Engine, settings: JobSettings, bundle: str, output: OutputFolder
    ) -> None:
        """Find out what columns there will be.

        Args:
            engine: answers.
            settings: of the job.
            bundle: digest of the engine's bundle.
            output: where files go.

        Raises:
            InputError: for heads and options that the engine does not have.
        """
        self._engine, self._settings, self._output = engine, settings, output
        self._asked: dict[str, Any] = {"heads": settings.heads, "options": settings.options}
        pair = len(settings.read) == 2
        self._columns = ResultColumns(engine, pair=pair, prefix=settings.prefix, **self._asked)
        told = {"version": __version__, "bundle": bundle, "settings": plain(settings)}
        self._about = {f"polyhead.{name}": _text(value) for name, value in told.items()}

    def write(
        self, file: InputFile, piece: Piece, names: tuple[str, str], tell: Callable[[int], None]
    ) -> ShardCounts:
        """Answer the rows of a piece.

        Args:
            file: the input.
            piece: which of its rows.
            names: of the output file, and of the side file of bad rows.
            tell: is told how many rows were done since it was last told.

        Raises:
            InputError: when the input cannot be read, lacks a column, or has changed.
            GraphError: when the graph fails.
            OSError: when the output cannot be written.
        """
        with ExitStack() as stack:
            source = stack.enter_context(
                opened(file.path, self._settings.read, self._settings.keep)
            )
            schema = self._schema(source.kept, file)
            # Left in the opposite order: the output file gets its name last.
            stream = stack.enter_context(self._output.writing(names[0]))
            rows = stack.enter_context(_RowGroups(stream, schema))
            side, counts = None, ShardCounts()
            repeats = _Repeats(text for texts in source.texts(piece) for text in texts)
            for chunk in source.chunks(piece):
                answers, computed = self._answers(chunk.texts, repeats)
                table = self._table(file.path, chunk, answers, schema)
                rows.write(table)
                for number, problem in enumerate(answers):
                    if isinstance(problem, PolyheadError):
                        side = side or stack.enter_context(self._output.writing(names[1]))
                        told = _bad(file, chunk.numbers[number], problem, chunk.record(number))
                        side.write(told)
                count, answered = len(answers), len(table)
                counts += ShardCounts(count, answered, count - answered, computed)
                tell(count)
            if InputFile.at(file.path) != file:
                raise InputError("changed since the job was planned. Run it again.")
            if not side:  # of a run before
                self._output.remove(names[1])
        return counts

    def _answers(
        self, texts: Sequence[Input | InputError | None], repeats: _Repeats
    ) -> tuple[list[Prediction | PolyheadError], int]:
        """An answer or an error for each text, and how many different ones were computed."""
        asked = (t for t in texts if not isinstance(t, InputError) and t not in repeats)
        new = list(dict.fromkeys(asked))
        found = dict(
            zip(new, self._engine.predict(new, errors="return", **self._asked), strict=True)
        )
        answers = [t if isinstance(t, InputError) else repeats.answer(t, found) for t in texts]
        return answers, len(new)

    def _schema(self, kept: pa.Schema, file: InputFile) -> pa.Schema:
        own = [pa.field(FILE, pa.string()), pa.field(ROW, pa.int64())]
        refuse_clash(self._columns.schema.names, [FILE, ROW, *kept.names])
        refuse_clash([FILE, ROW], kept.names)
        about = {**self._about, "polyhead.input": _text(plain(file))}
        return pa.schema([*own, *kept, *self._columns.schema], metadata=about)

    def _table(
        self,
        path: str,
        chunk: Chunk,
        answers: Sequence[Prediction | PolyheadError],
        schema: pa.Schema,
    ) -> pa.Table:
        """The rows of a chunk that have answers."""
        good = [n for n, each in enumerate(answers) if isinstance(each, Prediction)]
        rows = pa.array(good, pa.int64())
        own = [pa.repeat(path, len(good)), pa.array([chunk.numbers[n] for n in good], pa.int64())]
        kept = [column.take(rows) for column in chunk.kept.columns]
        results = self._columns.arrays([p for p in answers if isinstance(p, Prediction)])
        return pa.Table.from_arrays([*own, *kept, *results], schema=schema)


class _Repeats:
    """Texts of a shard that come more than once, with their answers while more of them come."""

    def __init__(self, texts: Iterable[Input | InputError | None]) -> None:
        """Count them; a number a text is in memory meanwhile, and then one a repeated text."""
        numbers = np.fromiter((hash(t) for t in texts if not isinstance(t, InputError)), np.int64)
        values, counts = np.unique(numbers, return_counts=True)
        often = counts > 1
        self._left = dict(zip(values[often].tolist(), counts[often].tolist(), strict=True))
        self._answers: dict[Input | None, Prediction | PolyheadError] = {}

    def __contains__(self, text: Input | None) -> bool:
        return text in self._answers

    def answer(
        self,
        text: Input | None,
        found: Mapping[Input | None, Prediction | InputError | GraphError],
    ) -> Prediction | PolyheadError:
        """The answer to a text: of `found`, or of before."""
        answer = found[text] if text in found else self._answers[text]
        number = hash(text)
        if number in self._left:
            self._left[number] -= 1
            if not self._left[number]:
                self._answers.pop(text, None)
            elif len(self._answers) < _MOST_REMEMBERED:
                self._answers[text] = answer
        return answer


class _RowGroups:
    """Writes tables as row groups of a good size."""

    def __init__(self, stream: Any, schema: pa.Schema) -> None:
        # A dictionary of the numbers of vectors would be as large as they are.
        flat = [field.name for field in schema if not pa.types.is_nested(field.type)]
        self._writer = parquet.ParquetWriter(
            stream, schema, compression="zstd", use_dictionary=flat
        )
        self._tables: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        self._tables.append(table)
        if sum(each.nbytes for each in self._tables) >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._tables:
            self._writer.write_table(pa.concat_tables(self._tables))
            self._tables = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


def _bad(file: InputFile, number: int, problem: PolyheadError, record: Any) -> bytes:
    """A line of the side file."""
    told = {
        FILE: file.path,
        ROW: number,
        "error": type(problem).__name__,
        "reason": reason(problem),
        "record": record,
    }
    return f"{json.dumps(told, default=str)}\n".encode()


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
