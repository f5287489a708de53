"""A child process with limits, for what a stranger's bundle may make the libraries do."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable

from polyhead.errors import BundleUnsafe, InvalidSetting
from polyhead.system.schema import number

_NO_MEMORY = 3  # exit code
_MOST_GIB, _MOST_SECONDS = 2**20, 10**6  # more overflows in the system's calls


def run_isolated(work: Callable[[], int], *, memory_gib: float, seconds: float) -> int:
    """Run `work` in a child of this process with limits, and take its exit code.

    The child is no jail: it may read and write what this process may. It leaves no core dump.

    Args:
        work: gives an exit code; what it raises it has to report itself.
        memory_gib: GiB of its own that the child may have.
        seconds: until it is stopped; if this process ends before, so many on each CPU.

    Raises:
        BundleUnsafe: when the child wanted more, or was ended by a signal.
        InvalidSetting: for a limit that is no number above 0, and on other systems than Linux,
            which cannot limit memory.
    """
    memory = int(min(number("memory", memory_gib), _MOST_GIB) * 2**30)
    wait = min(number("seconds", seconds), _MOST_SECONDS)
    if sys.platform != "linux":
        raise InvalidSetting(
            f"isolated: found {sys.platform}, expected Linux, where a process can be limited. Use a"
            " container or a virtual machine with little memory."
        )
    # A fork also works in a frozen program, and nothing of a bundle has been opened yet.
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=_limited, args=(work, memory, wait))
    child.start()
    try:
        child.join(wait)
        code = child.exitcode
    finally:
        child.kill()
        child.join()
    if code == _NO_MEMORY:
        raise BundleUnsafe(f"needs more memory than {memory_gib:g} GiB. {_NEXT_STEP}")
    if code is None or code == -signal.SIGXCPU:
        raise BundleUnsafe(f"not done within {seconds:g} s. {_NEXT_STEP}")
    if code < 0:
        raise BundleUnsafe(
            f"the process that loaded it was ended by {signal.Signals(-code).name}: a library fails"
            f" on it, or found no memory within {memory_gib:g} GiB. {_NEXT_STEP}"
        )
    return code


_NEXT_STEP = "Do not use this bundle, unless you trust its maker and allow it more."


def _limited(work: Callable[[], int], memory: int, seconds: float) -> None:
    import resource  # not on Windows

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cpu_seconds = math.ceil(seconds) * (os.cpu_count() or 1)
    # Of memory what is written to, not the address space, of which libraries reserve much more.
    for what, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        _, allowed = resource.getrlimit(what)
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(what, (most, most))
    try:
        code = work()
    except MemoryError:
        code = _NO_MEMORY
    sys.exit(code)
