"""The file of a graph, which a forked process reads again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from polyhead.bundle.onnx_check import check_onnx
from polyhead.errors import BundleFileMissing, DigestMismatch

_BLOCK = 2**30  # bytes; Linux reads no more than 2 GiB at once


class GraphFile:
    """A graph on disk, checked when it is opened; opened again, it must be the same.

    Where processes fork, the file stays open: a child reads what its parent read, even if another
    bundle is at the path by then, or none.
    """

    def __init__(self, path: Path, check: Callable[[bytes], None] | None = None) -> None:
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
    def opened(self) -> Iterator[str | bytes]:
        """What onnxruntime is to open: a name of exactly this file, or its content.

        Another file may be at its path meanwhile. onnxruntime loads 58 MB by a name in 59 ms and
        from bytes in 86 (1.32, MiniLM).

        Raises:
            BundleError: when it cannot be read or trusted, is another one than before, or was
                changed before the block ended.
        """
        try:
            kept = self._is_kept()
            file = os.fdopen(os.dup(self._kept), "rb") if kept else self.path.open("rb")
        except OSError as problem:
            raise BundleFileMissing(f"{self.path}: cannot be read: {problem}.") from problem
        with file:
            source = self._checked(file)
            if not kept and hasattr(os, "fork"):
                self._kept = self._duplicate(file)
            yield source
            if _identity(file.fileno()) != self._loaded:
                raise DigestMismatch(
                    f"{self.path}: changed while it was read. Put a new folder in the place of a"
                    " bundle's, instead of files into it."
                )

    def _duplicate(self, file: BinaryIO) -> int:
        try:
            return os.dup(file.fileno())
        except OSError as problem:  # this process may open no more files
            raise BundleFileMissing(f"{self.path}: cannot be kept open: {problem}.") from problem

    def _is_kept(self) -> bool:
        """Whether the descriptor is still ours: a daemon closes what it did not open."""
        try:
            return _identity(self._kept)[:2] == self._loaded[:2]
        except OSError:
            return False

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not ending() and self._is_kept():  # by then, names may be None
            os.close(self._kept)

    def _checked(self, file: BinaryIO) -> str | bytes:
        """Its name, or its content where it cannot be opened by a name.

        The content is a copy: what is mapped into memory ends the process (SIGBUS) when another
        one cuts the file short. It is gone before onnxruntime takes memory of its own.
        """
        identity = _identity(file.fileno())
        try:
            content = _content(file)
        except OSError as problem:
            raise BundleFileMissing(f"{self.path}: cannot be read: {problem}.") from problem
        self._refuse_wrong(identity, content)
        check_onnx(content, str(self.path))
        # The name takes the right to read, which a process may have given up since it opened it.
        name = f"/proc/self/fd/{file.fileno()}"
        return name if sys.platform == "linux" and os.access(name, os.R_OK) else content

    def _refuse_wrong(self, identity: tuple[int, ...], content: bytes) -> None:
        """A forked process reads the file again; it must be the one that its parent loaded."""
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


def _content(file: BinaryIO) -> bytes:
    if not hasattr(os, "pread"):  # Windows
        return file.read()
    blocks, done, size = [], 0, os.fstat(file.fileno()).st_size
    # Not from the descriptor's own position, which forked processes share.
    while block := os.pread(file.fileno(), min(size - done, _BLOCK), done):
        blocks.append(block)
        done += len(block)
    return b"".join(blocks)


def _identity(descriptor: int) -> tuple[int, ...]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
