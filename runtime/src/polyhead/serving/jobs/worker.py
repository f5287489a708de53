"""A picklable callable for engines that spread batches over processes and machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from polyhead.engine import Engine, OnOverflow, Options
from polyhead.errors import InputError, InvalidSetting, PolyheadError, nearest
from polyhead.loading import load
from polyhead.prediction import Prediction
from polyhead.serving.jobs.columns import ResultColumns, reason, refuse_clash
from polyhead.serving.jobs.sources import inputs

ERROR = "error"
"""The column of the reasons why rows have no answers, behind the prefix."""


class Worker:
    """Answers batches of rows: the same rows come back with columns of answers.

    Picklable and cheap to make: the bundle is loaded when a process answers its first batch, once,
    however many copies of the worker come to it. Made for Ray Data's `map_batches`, Spark's
    `mapInArrow` and `mapInPandas`, and their like: start as many processes as there are cores, and
    leave one thread to each.
    """

    def __init__(
        self,
        bundle: str | Path,
        *,
        text: str = "text",
        pair: Sequence[str] | None = None,
        heads: Iterable[str] | None = None,
        options: Options | None = None,
        prefix: str = "",
        threads: int = 1,
        on_overflow: OnOverflow = "window",
    ) -> None:
        """Remember what to load and to ask.

        Args:
            bundle: as for `polyhead.load`; each machine must have it at this path.
            text: the column of texts.
            pair: two columns, of questions and of their texts, say, in place of `text`.
            heads: names of the wanted heads; None for all that read this kind of input.
            options: settings of single heads.
            prefix: put before the name of each new column.
            threads: of one process.
            on_overflow: as for `polyhead.load`.

        Raises:
            InvalidSetting: for another number of columns than two in a pair.
        """
        if pair is not None and (isinstance(pair, str) or len(pair) != 2):
            raise InvalidSetting(f"pair={pair!r}: expected the names of two columns.")
        self._read = (text,) if pair is None else tuple(pair)
        names = heads if heads is None or isinstance(heads, str) else tuple(heads)
        self._asked: dict[str, Any] = {"heads": names, "options": options}
        self._prefix = prefix
        self._load = (str(bundle), names, threads, on_overflow)

    def __call__(self, batch: Any) -> Any:
        """Answer a batch.

        Args:
            batch: a `dict` of numpy arrays by column, a `pandas.DataFrame`, or a `pyarrow.Table` or
                `RecordBatch`; it may have no rows.

        Returns:
            The same kind of batch, with all its columns and the new ones. A row that cannot be
            answered has nulls in them, which are NaN in arrays of numbers, and its reason in the
            column `error`, behind the prefix; of all other rows that is null.

        Raises:
            InputError: when a column is missing, or has the name of a new one.
            BundleError: when the bundle cannot be read or trusted.
            GraphError: when the graph fails.
        """
        if isinstance(batch, Mapping):
            names, read = list(batch), {n: batch[n] for n in self._read if n in batch}
            new = self._answered(names, {n: np.asarray(v).tolist() for n, v in read.items()})
            return {**batch, **{name: _numpy(column) for name, column in new.items()}}
        if isinstance(batch, pa.Table | pa.RecordBatch):
            found = {n: batch.column(n).to_pylist() for n in self._read if n in batch.schema.names}
            new = self._answered(batch.schema.names, found)
            for name, column in new.items():
                batch = batch.append_column(pa.field(name, column.type), column)
            return batch
        if hasattr(batch, "columns") and hasattr(batch, "assign"):
            found = {n: batch[n].tolist() for n in self._read if n in batch.columns}
            new = self._answered(list(batch.columns), found)
            return batch.assign(
                **{n: column.to_pandas().set_axis(batch.index) for n, column in new.items()}
            )
        raise InvalidSetting(
            f"batch: found {type(batch).__name__}, expected a dict of arrays, a pandas.DataFrame,"
            " or a pyarrow Table or RecordBatch."
        )

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the new columns, as Spark wants to know them; loads the bundle."""
        return self._columns.schema.append(pa.field(f"{self._prefix}{ERROR}", pa.string()))

    @cached_property
    def _engine(self) -> Engine:
        return _loaded(*self._load)

    @cached_property
    def _columns(self) -> ResultColumns:
        pair = len(self._read) == 2
        return ResultColumns(self._engine, pair=pair, prefix=self._prefix, **self._asked)

    def __getstate__(self) -> dict[str, Any]:
        """Without what this process has loaded."""
        return {n: v for n, v in vars(self).items() if n not in ("_engine", "_columns")}

    def _answered(
        self, names: Sequence[str], found: Mapping[str, Sequence[Any]]
    ) -> dict[str, pa.Array]:
        """The new columns of a batch that has columns of these `names`."""
        for name in self._read:
            if name not in found:
                known = ", ".join(map(repr, names)) or "none"
                raise InputError(
                    f"batch: no column {name!r}; there is {known}.{nearest(name, names)}"
                )
        schema = self.schema
        refuse_clash(schema.names, names)
        refuse_clash(self._columns.schema.names, [schema.names[-1]])
        texts = inputs([found[name] for name in self._read])
        answers = self._engine.predict(texts, errors="return", **self._asked)
        good = [each if isinstance(each, Prediction) else None for each in answers]
        why = [reason(each) if isinstance(each, PolyheadError) else None for each in answers]
        return dict(
            zip(
                schema.names,
                [*self._columns.arrays(good), pa.array(why, pa.string())],
                strict=True,
            )
        )


@lru_cache(maxsize=2)
def _loaded(
    bundle: str, heads: str | tuple[str, ...] | None, threads: int, on_overflow: OnOverflow
) -> Engine:
    """Of this process: some engines send it a copy of the worker with every task."""
    return load(bundle, heads=heads, threads=threads, on_overflow=on_overflow)


def _numpy(column: pa.Array) -> np.ndarray[Any, Any]:
    """Vectors as `(rows, numbers)`, other lists and structs as objects."""
    if pa.types.is_fixed_size_list(column.type):
        size = column.type.list_size
        rows = np.array(column.values, np.float32).reshape(len(column), size)
        rows[np.asarray(column.is_null())] = np.nan
        return rows
    if pa.types.is_list(column.type):
        found = np.empty(len(column), dtype=object)
        for row, value in enumerate(column.to_pylist()):  # at once, numpy would look into them
            found[row] = value
        return found
    return np.asarray(column.to_numpy(zero_copy_only=False))
