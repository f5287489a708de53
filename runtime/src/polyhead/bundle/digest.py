"""SHA-256 of a bundle's files, and of its manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyhead.bundle.manifest import FileEntry

DIGEST = "digest"
"""The manifest's field for its own digest."""


def sha256(path: Path) -> str:
    """Hex digest of the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entry(path: Path) -> FileEntry:
    """The manifest's entry for a file that lies in the bundle's folder."""
    return FileEntry(file=path.name, sha256=sha256(path), size=path.stat().st_size)


def with_digest(data: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest as plain data, with its digest as last field."""
    return {**_without_digest(data), DIGEST: compute_digest(data)}


def compute_digest(data: Mapping[str, Any]) -> str:
    """Hex SHA-256 of the canonical JSON of a manifest without its field `digest`.

    Canonical are sorted keys, no blanks, ASCII with escapes, and numbers as Python writes them. So
    spaces and the order of keys do not count; each value does.
    """
    canonical = json.dumps(_without_digest(data), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _without_digest(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != DIGEST}
