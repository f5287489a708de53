"""Things that cannot be inherited by a fork: each process makes its own when it first needs one."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import WeakSet

T = TypeVar("T")


class PerProcess(Generic[T]):
    """One thing a process, such as a session, a pool of threads or a lock.

    A forked child has a copy of its parent's memory but not of its threads, and locks are as other
    threads left them. So a child never touches what it inherited: it makes a new one. What it
    inherited is never freed: onnxruntime would wait for threads that are not there.

    Attributes:
        made: by process id; this process's own at most. A look at it is a call of `get` less.
    """

    def __init__(self) -> None:
        """Nothing is made yet."""
        self.made: dict[int, T] = {}
        # By process id, since a fork may copy a lock that is held. `setdefault` is atomic.
        self._locks: dict[int, Lock] = {}
        _EVERY.add(self)

    def get(self, make: Callable[[], T]) -> T:
        """This process's own; made now where there is none. Safe to call from many threads.

        Args:
            make: makes it. It is not kept: a thing that knew its maker would only be freed by the
                cycle collector.

        Raises:
            Exception: what making raises; the next call tries again.
        """
        pid = os.getpid()
        found = self.made.get(pid)
        if found is not None:
            return found
        with self._locks.setdefault(pid, Lock()):
            found = self.made.get(pid)
            if found is None:
                self.abandon()  # after a fork that Python did not see
                found = self.made[pid] = make()
            return found

    def peek(self) -> T | None:
        """This process's own; None where there is none yet."""
        return self.made.get(os.getpid())

    def abandon(self) -> None:
        """In a child: forget what was inherited, and never free it."""
        for thing in self.made.values():
            _immortal(thing)
        self.made.clear()


_EVERY: WeakSet[PerProcess[Any]] = WeakSet()


def _abandon_all() -> None:
    """In a child, right after the fork: it may end without asking for anything."""
    for each in list(_EVERY):
        each.abandon()


def _immortal(thing: object) -> None:
    """One reference more than there is; only child processes that inherit something pay for it."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
