"""Files and folders that appear whole or not at all.

A writer works in a hidden folder next to its target, ``.NAME.XXXXXXXX.writing``, which goes when it
is done. One that was killed leaves it; the next writer of the same target finds and removes it. It
knows the dead from the living by a lock, which the system drops with the process. Where the file
system has no locks, or pretends, nothing is removed.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from polyhead.errors import PolyheadError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_AT_CWD, _RENAME_EXCHANGE = -100, 2  # of linux/fcntl.h and linux/fs.h
_SUFFIX, _LOCK, _NEW, _OLD = ".writing", "lock", "new", "old"
_TRIES = 5

T = TypeVar("T")


@contextmanager
def folder(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give an empty folder; on success it takes the place of `target`, on the disk to stay.

    Whatever ends the block, or the process: at `target` is the old folder or the new one, whole.
    Linux exchanges the two in one step. Where that is not possible the old one is renamed first; a
    process that is killed in that moment leaves nothing at `target`, and the next writer puts the
    old one back. Of several writers the last one stays. Missing parents are made.

    Args:
        target: where the folder goes. A link is replaced, not followed.
        replace: False leaves a folder with files that is there by then, and raises OSError.

    Raises:
        OSError: when the disk refuses or `target` is one that cannot be replaced; it is then as it
            was, or the message says where it is.
    """
    target = replaceable(target)
    with _workplace(target) as work:
        new = work / _NEW
        new.mkdir()
        yield new
        sync(new)
        if replace:
            _take_place(new, target)
        else:
            new.rename(target)
        _sync_one(target.parent)


def write(target: Path, content: str | bytes) -> None:
    """Write a file in one step, text as UTF-8; missing parents are made.

    Raises:
        OSError: when the disk refuses; an older file is then as it was.
    """
    with _workplace(target) as work:
        new = work / _NEW
        new.write_bytes(content.encode() if isinstance(content, str) else content)
        _sync_one(new)
        new.replace(target)
        _sync_one(target.parent)


def replaceable(target: Path) -> Path:
    """`target` by a name of its own, which ``.`` has not, before hours of work go into it.

    Raises:
        OSError: for a mount point, a file, a folder that may not be written, or the one that this
            process works in.
    """
    if target.name in ("", ".."):
        target = target.resolve()
    if target.is_symlink():
        return target
    if target.is_file():  # not "exists and is no folder": other writers may be between two renames
        raise NotADirectoryError(f"{target}: a file; expected the path of a folder.")
    if os.path.ismount(target):
        raise OSError(
            f"{target}: a mount point, which cannot be replaced as a whole. Name a folder in it."
        )
    # A move changes its "..". What the folder around it forbids, the system says at once.
    with _watched(target) as moved:
        known = target.is_dir() and os.access(target.parent, os.W_OK)
        if known and not os.access(target, os.W_OK) and not moved():
            raise PermissionError(
                f"{target}: read-only, so it cannot be replaced. Allow that ('chmod u+w'), or name"
                " another folder."
            )
    with suppress(FileNotFoundError):  # a process may work in a folder that is gone
        here = Path.cwd()
        if target.resolve() in (here, *here.parents):
            raise OSError(
                f"{target}: this process works in it, so it cannot be replaced. Start it elsewhere."
            )
    return target


def steadily(folders: Sequence[Path], read: Callable[[], T], *, checked: bool) -> T:
    """What `read` makes of the files in `folders`; again where one was replaced meanwhile.

    Args:
        folders: what it reads, by paths.
        read: may find files of the old folder and of the new one.
        checked: whether it raises when they do not fit each other.

    Raises:
        PolyheadError: when `read` does over folders that stay the same, or time and again.
    """
    for tries_left in reversed(range(_TRIES)):
        with ExitStack() as stack:
            moved = [stack.enter_context(_watched(folder)) for folder in folders]
            try:
                found = read()
            except PolyheadError:
                if not tries_left or not any(each() for each in moved):
                    raise
            else:
                if checked or not any(each() for each in moved):
                    return found
    raise PolyheadError(
        f"{folders[0]}: replaced {_TRIES} times while it was read. Read it when its writer is done."
    )


@contextmanager
def _watched(folder: Path) -> Iterator[Callable[[], bool]]:
    """Whether another folder is at the path than at the beginning of the block."""
    try:
        # Held open, so that no other folder gets its number.
        file = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except (OSError, ValueError):  # no such folder, or Windows
        yield lambda: False
        return

    def moved() -> bool:
        try:
            return not os.path.samestat(os.fstat(file), folder.stat())
        except OSError:
            return True

    try:
        yield moved
    finally:
        os.close(file)


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """A hidden folder next to `target`, under a lock; what dead writers left there is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        while (work := _locked_folder(target, stack)) is None:
            pass
        stack.callback(_remove, work, target)
        _remove_leftovers(target, work)
        yield work


def _locked_folder(target: Path, stack: ExitStack) -> Path | None:
    """A new folder, locked until the stack ends; None when another writer took it for a dead one's.

    That may be in the moment before the lock.
    """
    prefix = f".{target.name}."
    work = Path(tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=target.parent))
    try:
        lock = os.open(work / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileNotFoundError:
        return None
    if fcntl is None:  # Windows, which does not remove a file that is open
        os.close(lock)
    else:
        stack.callback(os.close, lock)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
    return work if (work / _LOCK).exists() else None


def _remove_leftovers(target: Path, own: Path) -> None:
    """Remove the folders of dead writers of `target` that this user had."""
    with suppress(BlockingIOError):
        if (lock := take_lock(own / _LOCK)) is not None:
            os.close(lock)
        return  # there are no locks here, or for show only: our own is not minded
    user = own.stat().st_uid  # a stranger's folder may be a trap, such as a link
    pattern = re.compile(rf"\.{re.escape(target.name)}\.\w{{8}}{re.escape(_SUFFIX)}")
    with suppress(OSError):
        for found in [each for each in target.parent.iterdir() if pattern.fullmatch(each.name)]:
            with suppress(OSError):
                found.rmdir()  # its writer died, or lives, before there was a lock
            with suppress(OSError):
                mine = found.lstat().st_uid == user
                if mine and (lock := take_lock(found / _LOCK)) is not None:
                    try:
                        _remove(found, target)
                    finally:
                        os.close(lock)


def take_lock(file: Path) -> int | None:
    """Lock a file that exists, until its descriptor, which is returned, or the process is closed.

    Returns:
        None where the file system, or the operating system, has no such locks.

    Raises:
        BlockingIOError: when another holds the lock.
        OSError: when there is no such file, or this user may not open it.
    """
    lock = os.open(file, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
    except BlockingIOError:
        os.close(lock)
        raise
    except OSError:
        pass
    os.close(lock)
    return None


def _remove(work: Path, target: Path) -> None:
    """Remove a workplace; the old folder comes back from it where nothing is at `target`."""
    for old in sorted(work.glob(f"{_OLD}*"), reverse=True):
        if os.path.lexists(target):
            break
        try:
            with _unless_there(target):
                old.rename(target)
        except OSError as problem:
            raise OSError(
                f"{target}: could not be replaced, nor put back ({problem}). The old one is whole"
                f" at {old}: move it back."
            ) from problem
    for each in [each for each in work.iterdir() if each.name != _LOCK]:
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        else:
            each.unlink()
    shutil.rmtree(work, ignore_errors=True)  # the lock last: without one nobody would remove it


def _take_place(new: Path, target: Path) -> None:
    """Put a folder at `target`; what is there goes next to where the folder was.

    Other writers may do the same at any time.
    """
    for number in itertools.count():
        if not os.path.lexists(target):
            with _unless_there(target):
                new.rename(target)
                return
        elif _exchange(new, target):
            return
        else:  # an interrupt may come anywhere: what counts then is what the disk holds
            try:
                target.rename(new.with_name(f"{_OLD}{number:03}"))
            except FileNotFoundError:
                continue
            except OSError as problem:
                raise OSError(
                    f"{target}: cannot be replaced ({problem.strerror}), as a folder of a"
                    " container's image, a mount, or one of another user. It is as it was; name"
                    " another folder."
                ) from problem
            with _unless_there(target):
                new.rename(target)
                return


@contextmanager
def _unless_there(target: Path) -> Iterator[None]:
    """Another writer may have been faster; all other errors count."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


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


def sync(folder: Path) -> None:
    """Have the disk keep a folder and all that is in it."""
    for each in folder.rglob("*"):
        if not each.is_symlink():
            _sync_one(each)
    _sync_one(folder)


def _sync_one(path: Path) -> None:
    if sys.platform == "win32":  # which syncs no folder, and no file that is open for reading
        return
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as problem:
        # A file system that syncs no folders, or a folder in which one may write and not look.
        if problem.errno not in (errno.EINVAL, errno.EACCES):
            raise
