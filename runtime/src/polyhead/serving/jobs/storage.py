"""Folders and files, here or wherever fsspec reaches: whole files only, whatever ends the job."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyarrow import fs

from polyhead.errors import InvalidSetting, MissingExtra, PolyheadError
from polyhead.system.atomic import take_lock

_WRITING, _LOCK = ".writing", ".lock"
_PATIENCE = 10.0  # seconds for the processes of a run that was just killed to end


def located(place: str) -> tuple[fs.FileSystem, str]:
    """The file system of a path or an URL, and the path there.

    Raises:
        MissingExtra: for an URL, when fsspec or what it needs for this kind is not installed.
        InvalidSetting: for an URL that fsspec does not know.
    """
    if "://" not in place:
        return fs.LocalFileSystem(), str(Path(place).absolute())
    try:
        import fsspec
    except ImportError as problem:
        raise MissingExtra(
            f"{place}: fsspec is not installed, which reads and writes URLs. Run 'pip install"
            " fsspec', and what it needs for this kind, such as s3fs or gcsfs."
        ) from problem
    try:
        found, path = fsspec.core.url_to_fs(place)
    except ImportError as problem:
        raise MissingExtra(f"{place}: {problem}") from problem
    except ValueError as problem:
        raise InvalidSetting(f"{place}: {problem}") from problem
    return fs.PyFileSystem(fs.FSSpecHandler(found)), path


class OutputFolder:
    """Where a job writes. A file in it is whole: it is written beside, and renamed."""

    def __init__(self, place: str) -> None:
        """Remember where; nothing is made yet. Raises what `located` raises."""
        self.place = place
        self._fs, self._path = located(place)
        self.local = isinstance(self._fs, fs.LocalFileSystem)

    def refuse_inside(self, paths: Iterable[str]) -> None:
        """See that no input is in this folder, where later runs would take results for inputs.

        Raises:
            InvalidSetting: names one.
        """
        for path in paths:
            system, inside = located(path)
            if system == self._fs and inside.startswith(f"{self._path}/"):
                raise InvalidSetting(f"{path}: in the output folder. Name another one.")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, keep other jobs out of it, and remove what dead ones left half written.

        Only folders on this machine have locks; elsewhere it is for the caller to run one job.

        Raises:
            PolyheadError: when another job works here.
            OSError: when the folder cannot be made or written to.
        """
        self._fs.create_dir(self._path, recursive=True)
        lock = self._lock() if self.local else None
        try:
            for name in self.names():
                if name.endswith(_WRITING):
                    self.remove(name)
            yield
        finally:
            if lock is not None:
                os.close(lock)

    def _lock(self) -> int | None:
        file = Path(self._path) / _LOCK
        file.touch()
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                return take_lock(file)
            except BlockingIOError as problem:
                if time.monotonic() > end:
                    raise PolyheadError(
                        f"{self.place}: another job writes here. Wait for its end, or name another"
                        " folder."
                    ) from problem
                time.sleep(0.1)

    def names(self) -> set[str]:
        """Names of all files of the folder; none where there is no folder."""
        selector = fs.FileSelector(self._path, allow_not_found=True)
        return {info.base_name for info in self._fs.get_file_info(selector) if info.is_file}

    def read(self, name: str) -> bytes:
        """The content of a file."""
        with self._fs.open_input_stream(self._at(name)) as file:
            return bytes(file.read())

    @contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """A stream for a new file, which has its name when the block ends, unless by an error."""
        beside = self._at(f".{name}{_WRITING}")
        try:
            with self._fs.open_output_stream(beside) as file:
                yield file
            if self.local:
                _sync(beside)
        except BaseException:
            with suppress(OSError):
                self._fs.delete_file(beside)
            raise
        self._fs.move(beside, self._at(name))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            self._fs.delete_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"


def _sync(path: str) -> None:
    """Have the disk keep a file before it gets its name."""
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)
