"""Several threads for one text: the graph a second time, when it is first needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.inference import threads
from polyhead.inference.per_process import PerProcess
from polyhead.inference.session import OnnxSession

_log = logging.getLogger(__name__)


class WideSession:
    """A back end that gives the same bits as another sooner, with more threads for one call.

    A session has one number of threads, so this is one more, with its own copy of the weights. It
    is opened when it is first asked for, while the other one computes. Where that fails, as the
    bundle was replaced on disk meanwhile, the other one goes on, with one thread; the log and
    `info` tell so.
    """

    wide = None

    def __init__(self, narrow: OnnxSession, count: int) -> None:
        """Nothing is opened yet.

        Args:
            narrow: the graph as it is loaded.
            count: threads for one call.
        """
        self._narrow, self.threads = narrow, count
        self.inputs = narrow.inputs
        self._fault: str | None = None
        self._asked: int | None = None  # the process that had it opened
        self._session = PerProcess(self._opened)

    def _opened(self) -> OnnxSession:
        session = self._narrow.with_threads(self.threads)
        try:
            session.open()
        except Exception as problem:  # whatever it is, there is a session that computes
            self._fault = str(problem)
            _log.warning("a lone text is computed by one thread: %s", problem)
            return self._narrow
        return session

    def ready(self, start: Callable[[Callable[[], None]], bool]) -> bool:
        """Whether it can run at once; see `polyhead.inference.session.WideBackend.ready`."""
        process = os.getpid()
        if self._session.peek() is None and self._asked != process and start(self._open):
            self._asked = process
        return self._session.peek() is not None and self._fault is None

    def _open(self) -> None:
        self._session.get()

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]:
        """Logits for one text; see `polyhead.inference.session.Backend.run`."""
        return self._session.get().run(outputs, feeds)

    def info(self) -> dict[str, Any]:
        """From how many tokens on how many threads, and whether the session is open."""
        return {
            "intra_op_threads": self.threads,
            "from_tokens": threads.WIDE_FROM,
            "open": self._session.peek() is not None and self._fault is None,
            "fault": self._fault,
        }
