"""Size and SHA-256 of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from polyhead.bundle.manifest import FileEntry


def sha256(path: Path) -> str:
    """Hex digest of the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entry(path: Path) -> FileEntry:
    """The manifest's entry for a file that lies in the bundle's folder."""
    return FileEntry(file=path.name, sha256=sha256(path), size=path.stat().st_size)
