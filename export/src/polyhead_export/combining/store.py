"""The files of a new bundle folder."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

from polyhead.bundle import FileEntry, digest


class FileStore:
    """Files of a new folder: one for each content, under a name that is free."""

    def __init__(self, folder: Path, *taken: str) -> None:
        """Begin with an empty folder, and names that are taken in it."""
        self._folder = folder
        self._by_content: dict[str, FileEntry] = {}
        self._names = set(taken)

    def put(self, source: Path, name: str) -> FileEntry:
        """Copy a file, unless its content is there already."""
        found = digest.sha256(source)
        if found not in self._by_content:
            path = self._free(name)
            shutil.copyfile(source, path)
            self._by_content[found] = digest.entry(path)
        return self._by_content[found]

    def write(self, name: str, text: str) -> FileEntry:
        """Make a file of a text."""
        path = self._free(name)
        path.write_text(text, encoding="utf-8")
        return digest.entry(path)

    def _free(self, name: str) -> Path:
        """A name such as this one; taken from now on."""
        stem, dot, suffix = name.partition(".")
        names = (f"{stem}-{n}{dot}{suffix}" for n in itertools.count(2))
        free = next(n for n in itertools.chain([name], names) if n not in self._names)
        self._names.add(free)
        return self._folder / free
