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
    """

    def __init__(self, make: Callable[[], T]) -> None:
        """Remember how to make the thing; nothing is made yet."""
        self._make = make
        self._made: tuple[int, T] | None = None
        # By process id, since a fork may copy a lock that is held. `setdefault` is atomic.
        self._locks: dict[int, Lock] = {}
        _EVERY.add(self)

    def get(self) -> T:
        """This process's own; made now where there is none. Safe to call from many threads.

        Raises:
            Exception: what making raises; the next call tries again.
        """
        made = self._made
        if made is not None and made[0] == os.getpid():
            return made[1]
        return self._new()

    def peek(self) -> T | None:
        """This process's own; None where there is none yet."""
        made = self._made
        return made[1] if made is not None and made[0] == os.getpid() else None

    def _new(self) -> T:
        pid = os.getpid()
        with self._locks.setdefault(pid, Lock()):
            made = self._made
            if made is not None:
                if made[0] == pid:
                    return made[1]
                self.abandon()  # a fork that did not tell Python
            thing = self._make()
            self._made = (pid, thing)
            return thing

    def abandon(self) -> None:
        """In a child: forget what was inherited, and never free it."""
        if self._made is not None:
            _immortal(self._made[1])
            self._made = None


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
