"""Several processes on one socket, and the one that keeps them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from polyhead.errors import PolyheadError

_log = logging.getLogger(__name__)
_FAILED = 3
"""Exit code of a worker that could not begin."""
_SHORT_LIFE_S = 1.0
_LAST_WAIT_S = 5.0
_ANSWERED = [
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGALRM")
    if hasattr(signal, name)  # all but on Windows, where there are no workers
]
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def counted_together() -> Iterator[None]:
    """Processes that are forked in the block count their metrics together, in a folder of files.

    prometheus-client must not have been imported before. A folder that the environment names is
    used as it is.
    """
    if _FOLDER in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="polyhead-metrics-", ignore_cleanup_errors=True) as own:
        os.environ[_FOLDER] = own
        try:
            yield
        finally:
            del os.environ[_FOLDER]


class WorkerProcesses:
    """Forks workers, begins another where one has died, and passes signals on.

    SIGTERM and Ctrl-C end them; those that are there some seconds after their grace are killed.
    SIGHUP is passed on.
    """

    def __init__(self, work: Callable[[], None], count: int, grace: float) -> None:
        """Take what they do; nothing begins.

        Args:
            work: what a worker does; it returns when the worker has ended well.
            count: of workers, at least 1.
            grace: seconds that a worker has to end.
        """
        self._work, self._count, self._grace = work, count, grace
        self._begun: dict[int, float] = {}
        self._ending = False

    def run(self) -> int:
        """Keep the workers until the end. Returns the exit code: 1 when one could not begin."""
        answers: dict[int, Callable[[int, FrameType | None], object]] = {
            signal.SIGTERM: self._end,
            signal.SIGINT: self._end,
            signal.SIGHUP: self._pass_on,
            signal.SIGALRM: self._kill,
        }
        before = {number: signal.signal(number, answer) for number, answer in answers.items()}
        try:
            for _ in range(self._count):
                self._begin()
            return self._keep()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _begin(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(
            signal.SIG_BLOCK, _ANSWERED
        )  # none for a parent's handler in a child
        process = os.fork()
        if process:
            self._begun[process] = time.monotonic()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ANSWERED)
            return
        code = _FAILED
        try:
            for number in _ANSWERED:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ANSWERED)
            self._work()
            code = 0
        except (PolyheadError, OSError) as problem:
            _log.error("%s", problem)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # what the parent has on its way out is the parent's

    def _keep(self) -> int:
        failed = 0
        while self._begun:
            process, status = os.wait()
            begun = self._begun.pop(process, None)
            if begun is None:
                continue
            _forget(process)
            code = os.waitstatus_to_exitcode(status)
            if self._ending:
                continue
            if code == _FAILED:
                failed = 1
                self._end()
                continue
            _log.warning("worker %d ended with %d; another begins", process, code)
            if time.monotonic() - begun < _SHORT_LIFE_S:
                time.sleep(_SHORT_LIFE_S)
            if not self._ending:
                self._begin()
        signal.setitimer(signal.ITIMER_REAL, 0)
        return failed

    def _signal(self, number: int) -> None:
        for process in list(self._begun):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def _end(self, *_: object) -> None:
        self._ending = True
        self._signal(signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, self._grace + _LAST_WAIT_S)

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self._signal(number)

    def _kill(self, *_: object) -> None:
        self._signal(signal.SIGKILL)


def _forget(process: int) -> None:
    """What a worker counts as its present state, such as requests in flight, counts no more."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(process)  # type: ignore[no-untyped-call]
