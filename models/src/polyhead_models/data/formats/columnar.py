"""Data sets of the Hugging Face hub, by the datasets library, and Apache Parquet, by pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from polyhead_models.data.formats.base import FileLayout, Row
from polyhead_models.errors import DataError


def read_hub(place: str, layout: FileLayout) -> Iterator[Row]:
    """One row a row; numbers that stand for labels become the labels' names.

    Args:
        place: ``name``, ``name:config`` or ``name:config/split``; a folder may stand for the name.
        layout: names the split where `place` does not.

    Raises:
        DataError: when the data set cannot be loaded; says what to do without a network.
    """
    import datasets

    name, _, rest = place.partition(":")
    config, _, split = rest.partition("/")
    datasets.utils.logging.disable_progress_bar()
    try:
        found = datasets.load_dataset(name, config or None, split=split or layout.split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as problem:
        raise DataError(
            f"{place}: cannot be loaded as a data set of the hub: {problem}. Expected"
            " 'name:config/split'. Without a network, load it once where there is one, with"
            f" 'datasets.load_dataset({name!r})', and copy the folder that HF_HOME names; or save"
            " it as Parquet and name the files."
        ) from problem
    for number, fields in enumerate(found, start=1):
        values = {key: _value(found.features[key], value) for key, value in fields.items()}
        yield Row(f"{place}, row {number}", values)


def _value(feature: Any, value: Any) -> Any:
    """Label numbers into names, alone or in lists; -1 is the hub's way to say "none"."""
    import datasets

    if isinstance(feature, datasets.ClassLabel):
        return None if value in (None, -1) else feature.int2str(value)
    inner = getattr(feature, "feature", None)
    if isinstance(inner, datasets.ClassLabel) and value is not None:
        return [_value(inner, item) for item in value]
    return value


def read_parquet(place: str, layout: FileLayout) -> Iterator[Row]:
    """One row a row; null is an absent value.

    Raises:
        DataError: when the file is no Parquet, or a text in it is not UTF-8.
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
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as problem:
        raise DataError(f"{place}, row {number + 1}: not valid Parquet: {problem}.") from problem
