"""The file of a graph, which a forked process reads again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO

from polyhead.bundle.onnx_check import check_onnx
from polyhead.errors import BundleFileMissing, DigestMismatch, GraphError


class GraphFile:
    """A graph on disk, checked when it is opened; opened again, it must be the same.

    Where processes fork, the file stays open: a child reads what its parent read, even if another
    bundle is at the path by then, or none.
    """

    def __init__(self, path: Path, check: Callable[[mmap], None] | None = None) -> None:
        """Remember where it is.

        Args:
            path: of the file.
            check: refuses a wrong content of the file, with an error of the tree.
        """
        self.path = path
        self._check = check
        self._loaded: tuple[int, ...] = ()
        self._kept = -1  # its descriptor

    @contextmanager
    def opened(self) -> Iterator[tuple[BinaryIO, mmap]]:
        """The file and its content, without a copy.

        Raises:
            BundleError: when it cannot be read or trusted, or is another one than before.
        """
        try:
            kept = self._is_kept()
            file = os.fdopen(os.dup(self._kept), "rb") if kept else self.path.open("rb")
        except OSError as problem:
            raise BundleFileMissing(f"{self.path}: cannot be read: {problem}.") from problem
        with file:
            content = _mapped(file, self.path)
            self._refuse_wrong(file, content)
            check_onnx(content, str(self.path))
            if not kept and hasattr(os, "fork"):
                self._kept = os.dup(file.fileno())
            yield file, content

    def _is_kept(self) -> bool:
        """Whether the descriptor is still ours: a daemon closes what it did not open."""
        try:
            return _identity(self._kept)[:2] == self._loaded[:2]
        except OSError:
            return False

    def __del__(self) -> None:
        if self._is_kept():
            os.close(self._kept)

    def _refuse_wrong(self, file: BinaryIO, content: mmap) -> None:
        """A forked process reads the file again; it must be the one that its parent loaded."""
        identity = _identity(file.fileno())
        if identity == self._loaded:
            return
        again = bool(self._loaded)
        changed = (
            f"{self.path}: changed since it was loaded, and this process has to read it again."
            " Load the bundle after a fork, or call reload."
        )
        if again and self._check is None:
            raise DigestMismatch(changed)
        if self._check is not None:
            try:
                self._check(content)
            except DigestMismatch as problem:
                if again:
                    raise DigestMismatch(changed) from problem
                raise
        self._loaded = identity


def _identity(descriptor: int) -> tuple[int, ...]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _mapped(file: BinaryIO, path: Path) -> mmap:
    try:
        return mmap(file.fileno(), 0, access=ACCESS_READ)
    except (OSError, ValueError) as problem:  # an empty file cannot be mapped
        raise GraphError(f"{path}: empty, expected an ONNX model.") from problem
