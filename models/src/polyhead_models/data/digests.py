"""What a split is read from, as a digest: equal digests and settings give equal rows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from polyhead.bundle.digest import sha256
from polyhead_models.config import DataConfig
from polyhead_models.data import rows, sources
from polyhead_models.data.formats.json_files import split_key
from polyhead_models.errors import DataError


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
    if data.format == "hub":
        return _of_rows(data, split)
    try:
        read = rows.files(place, data.format, sources.layout(data, split))
    except DataError:
        return None
    read += [Path(name) for name in data.names.values()]
    if not all(path.is_file() for path in read):
        return None
    keys = [split_key(one)[1] for one in rows.places(place)] if data.format in _KEYED else []
    parts = [sha256(path) for path in read]
    if len(parts) == 1 and not any(keys):
        return parts[0]
    return hashlib.sha256(json.dumps([parts, keys]).encode()).hexdigest()


_KEYED = (None, "json")


def _of_rows(data: DataConfig, split: str) -> str | None:
    try:
        fields = [row.fields for row in sources.load(data, split)]
    except DataError:
        return None
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()
