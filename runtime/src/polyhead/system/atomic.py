"""Files and folders that appear whole or not at all: written beside the target, then renamed."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target`; on success it takes the place of `target`.

    On an exception the new folder is removed and an old `target` stays as it was. Missing parents
    are made.

    Raises:
        OSError: when the disk refuses; `target` is then untouched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield staged
        staged.chmod(0o755)
        if target.exists():
            _swap(staged, target)
        else:
            staged.rename(target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _swap(staged: Path, target: Path) -> None:
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(old / target.name)
    try:
        staged.rename(target)
    except OSError:
        (old / target.name).rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


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
