"""Apache Parquet, by pyarrow."""

from __future__ import annotations

from collections.abc import Iterator

from polyhead_models.data.formats.base import FileLayout, Row
from polyhead_models.errors import DataError


def read(place: str, layout: FileLayout) -> Iterator[Row]:
    """One row a row; null is an absent value.

    Raises:
        DataError: when the file is no Parquet.
    """
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(place) as file:
            for batch in file.iter_batches():
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(f"{place}, row {number}", fields)
    except (FileNotFoundError, IsADirectoryError):
        raise
    except (pyarrow.ArrowException, OSError) as problem:
        raise DataError(f"{place}, row {number + 1}: not valid Parquet: {problem}.") from problem
