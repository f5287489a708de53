"""The files of a new bundle folder."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

from polyhead.bundle import digest
from polyhead.bundle.manifest import FileEntry


class Store:
    """Files of a new folder: one for each content, under a name that is free.

    Attributes:
        saved: bytes that are not there twice.
    """

    def __init__(self, folder: Path, *taken: str) -> None:
        """Begin with an empty folder, and names that are taken in it."""
        self._folder = folder
        self._by_content: dict[str, FileEntry] = {}
        self._names = set(taken)
        self.saved = 0

    def put(self, source: Path, entry: FileEntry) -> FileEntry:
        """Copy a file that is not there yet."""
        if (known := self._by_content.get(entry.sha256)) is not None:
            self.saved += entry.size
            return known
        name = self.free(entry.file)
        shutil.copyfile(source, self._folder / name)
        self._by_content[entry.sha256] = found = replace(entry, file=name)
        return found

    def write(self, name: str, content: str | bytes) -> FileEntry:
        """Make a file."""
        path = self._folder / self.free(name)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return digest.entry(path)

    def free(self, name: str) -> str:
        """A name such as this one; taken from now on."""
        stem, dot, suffix = name.partition(".")
        for number in itertools.count(1):
            free = name if number == 1 else f"{stem}-{number}{dot}{suffix}"
            if free not in self._names:
                self._names.add(free)
                return free
        raise AssertionError("count ended")
