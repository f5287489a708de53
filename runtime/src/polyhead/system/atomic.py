"""Files and folders that appear whole or not at all: written next to the target, then renamed."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_CWD, _RENAME_EXCHANGE = -100, 2  # of linux/fcntl.h and linux/fs.h


@contextmanager
def folder(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give an empty folder next to `target`; on success it takes the place of `target`.

    Whatever ends the block, Ctrl-C included: at `target` is the old folder or the new one, whole.
    Linux exchanges the two in one step. Where that is not possible the old one is renamed first,
    so a process that is killed in that moment leaves it under a hidden name next to `target`.
    Missing parents are made.

    Args:
        target: where the folder goes.
        replace: False leaves a folder with files that is there by then, and raises OSError.

    Raises:
        OSError: when the disk refuses; `target` is then as it was, or the message says where it is.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield staged
        staged.chmod(0o755)
        if not replace or not target.exists():
            staged.rename(target)
        elif not _exchange(staged, target):
            _replace(staged, target)
    finally:  # the new folder when something failed, the old one when it was exchanged
        if staged.is_symlink():
            staged.unlink()
        shutil.rmtree(staged, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Whether two paths were exchanged in one step: Linux, its glibc and most file systems can."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except AttributeError:  # another C library
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(_AT_CWD, paths[0], _AT_CWD, paths[1], _RENAME_EXCHANGE) == 0)


def _replace(staged: Path, target: Path) -> None:
    """Put `staged` at `target` in two steps, and the old one back when the second fails."""
    home = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    old = home / target.name
    try:
        target.rename(old)
        staged.rename(target)
    finally:  # an interrupt may come anywhere: what counts is what the disk holds
        if not target.exists():
            _restore(old, target)
        shutil.rmtree(home, ignore_errors=True)


def _restore(old: Path, target: Path) -> None:
    try:
        old.rename(target)
    except OSError as problem:
        raise OSError(
            f"{target}: could not be replaced, nor put back ({problem}). The old one is whole at"
            f" {old}: move it back."
        ) from problem


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8 to `target` in one step; missing parents are made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with staged.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)
