"""The rows of a source: read, cells with several values and names resolved, split, sampled.

And what they are read from, as a digest: equal digests and settings give equal rows.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from polyhead.bundle.digest import sha256
from polyhead.errors import nearest
from polyhead_models.config import DataConfig
from polyhead_models.data import rows as files
from polyhead_models.data.bad_rows import BadRows
from polyhead_models.data.formats.base import lines
from polyhead_models.data.formats.json_files import from_json, split_key
from polyhead_models.data.rows import FileLayout, Row
from polyhead_models.errors import DataError

Refuse = Callable[[DataError], None]


def load(data: DataConfig, split: str, bad: BadRows | None = None) -> list[Row]:
    """The rows of a split, in the order of the file; empty when the source has no such split.

    Args:
        data: the source.
        split: of the source.
        bad: takes the rows that cannot be used; None refuses them here.

    Raises:
        DataError: when a file cannot be read, a cell is not what `lists` and `names` expect, or a
            split would be left without rows; names file and line.
    """
    if bad is None:
        with BadRows() as bad:
            return load(data, split, bad)
    place = data.path(split)
    share = data.share(split)
    if place is None and not share:
        return []
    refuse = partial(bad.add, skip=data.skip_bad_rows)
    found = _read(data, "train" if place is None else split, refuse)
    if place is None or split == "train":
        found = _shared(found, data)[split]
    limit = data.limit.get(split)
    return found if limit is None else _in_order(found, _shuffled(len(found), data.seed)[:limit])


def shown(data: DataConfig, split: str) -> str:
    """The files that a split is read from, for messages."""
    return ", ".join(files.places(data.path(split) or data.train))


def layout(data: DataConfig, split: str) -> FileLayout:
    """What the readers have to know of a source."""
    return FileLayout(columns=data.columns, header=data.header, split=split)


def digest(data: DataConfig, split: str) -> str | None:
    """SHA-256 over all that a split is read from: files, keys inside them, files of names.

    A single file has its own SHA-256. A data set of the hub has no file that could be named; its
    rows are digested.

    Returns:
        None when the source has no files of its own for the split (a share of the training rows has
        theirs), or when they cannot be read.
    """
    place = data.path(split)
    if place is None:
        return None
    try:
        if data.format == "hub":
            fields = [row.fields for row in load(data, split)]
            return _sha256_of(json.dumps(fields, sort_keys=True, default=str))
        read = files.files(place, data.format, layout(data, split))
    except DataError:
        return None
    read += [Path(name) for name in data.names.values()]
    if not all(path.is_file() for path in read):
        return None
    keyed = files.places(place) if data.format in (None, "json") else ()
    keys = [split_key(one)[1] for one in keyed]
    parts = [sha256(path) for path in read]
    return parts[0] if len(parts) == 1 and not any(keys) else _sha256_of(json.dumps([parts, keys]))


def _sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(data: DataConfig, split: str, refuse: Refuse) -> list[Row]:
    described = replace(layout(data, split), refuse=refuse)
    found = files.read(data.path(split) or data.train, data.format, described)
    for column, separator in data.lists.items():
        found = _changed(found, column, "lists", partial(_parts, separator=separator), refuse)
    for column, place in data.names.items():
        known = _names(Path(place))
        named = partial(_name, known=known, place=place)
        found = _changed(found, column, "names", named, refuse)
    return found


def _changed(
    found: Sequence[Row], column: str, key: str, change: Callable[[Any], Any], refuse: Refuse
) -> list[Row]:
    """Rows with one column's cells changed; absent cells stay so."""
    if not any(column in row.fields for row in found):
        known = list(found[0].fields)
        raise DataError(
            f"{found[0].where}: {key} speaks of a column {column!r}; there are"
            f" {', '.join(map(str, known))}.{nearest(column, map(str, known))}"
        )
    changed = []
    for row in found:
        cell = row.fields.get(column)
        if cell is not None:
            try:
                row = replace(row, fields={**row.fields, column: change(cell)})
            except ValueError as problem:
                refuse(DataError(f"{row.where}: column {column!r}: {problem}."))
                continue
        changed.append(row)
    return changed


def _parts(cell: Any, separator: str) -> list[Any]:
    if not isinstance(cell, str):
        raise ValueError(f"found {cell!r}, expected a text with {separator!r} between its values")
    if separator == "json":
        found = from_json(cell)
        if not isinstance(found, list):
            raise ValueError(f"found {cell!r}, expected a list in JSON")
        return found
    if separator == " ":
        return cell.split()
    parts = [part.strip() for part in cell.split(separator)]
    if "" in parts:
        raise ValueError(f"found {cell!r}, which has an empty value next to a {separator!r}")
    return parts


def _name(cell: Any, known: Sequence[str], place: str) -> Any:
    """The name that a number, or each number of a list, stands for."""
    if isinstance(cell, list):
        return [_name(item, known, place) for item in cell]
    digits = str(cell)
    if isinstance(cell, bool) or not digits.isdecimal() or int(digits) >= len(known):
        raise ValueError(
            f"found {cell!r}, expected a number from 0 to {len(known) - 1}: {place} has"
            f" {len(known)} names"
        )
    return known[int(digits)]


def _names(path: Path) -> list[str]:
    """One name a line; blank lines at the end are none."""
    try:
        names = [line.strip() for _, line in lines(path)]
    except OSError as problem:
        raise DataError(f"{path}: cannot be read: {problem.strerror}.") from None
    while names and not names[-1]:
        names.pop()
    if not names or "" in names:
        line = names.index("") + 1 if names else 1
        raise DataError(f"{path}:{line}: found an empty line, expected a name.")
    return names


def _shared(found: Sequence[Row], data: DataConfig) -> dict[str, list[Row]]:
    """The training rows after the shares of the other splits are taken out, and those."""
    order = _shuffled(len(found), data.seed)
    # From both ends, so that neither split changes with the other's share.
    test = round(data.share("test") * len(found))
    validation = len(found) - round(data.share("validation") * len(found))
    splits = {
        "test": order[:test],
        "train": order[test:validation],
        "validation": order[validation:],
    }
    for split, chosen in splits.items():
        if not chosen and (split == "train" or data.share(split)):
            raise DataError(
                f"{shown(data, 'train')}: {len(found)} rows leave none for {split}; found"
                f" validation_share = {data.validation_share}, test_share = {data.test_share}."
            )
    return {split: _in_order(found, chosen) for split, chosen in splits.items()}


def _shuffled(count: int, seed: int) -> list[int]:
    """The numbers below `count`, shuffled alike by every version of Python."""
    generator = random.Random(seed)
    keys = [generator.random() for _ in range(count)]  # the one method that is promised to stay
    return sorted(range(count), key=keys.__getitem__)


def _in_order(found: Sequence[Row], chosen: Iterable[int]) -> list[Row]:
    return [found[index] for index in sorted(chosen)]
