"""Answers that are written piece by piece, for the event loop of a batcher."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from polyhead.engine import Engine
from polyhead.errors import BatcherClosed, DeadlineExceeded, PolyheadError, QueueFull
from polyhead.heads.generation import Generated
from polyhead.text.encoding import Input

_END = object()


class Streams:
    """Each stream has a thread of its own, which computes only in its turn beside all others."""

    def __init__(self, engine: Engine, most: int) -> None:
        """Take what writes.

        Args:
            engine: writes.
            most: streams at a time; one more is refused.
        """
        self._engine, self._most = engine, most
        self._gone: set[Event] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def pieces(
        self, text: Input, head: str, options: Mapping[str, Any], seconds: float
    ) -> AsyncGenerator[str | Generated]:
        """What `Engine.stream` gives, within so many seconds; inf for no limit.

        When the iterator is closed, the thread stops before its next token.

        Raises:
            QueueFull: when there are as many streams as may be.
            DeadlineExceeded: when the time is over before the answer is whole.
            PolyheadError: what `Engine.stream` raises.
        """
        if len(self._gone) >= self._most:
            raise QueueFull(
                f"{self._most} answers are written piece by piece at this time, and there may be no"
                " more. Answer 503 and let the caller try again later.",
                expected_wait_s=1.0,
            )
        gone, end = Event(), time.monotonic() + seconds
        found: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(each: object) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(found.put_nowait, each)

        def wanted() -> bool:
            return not gone.is_set() and time.monotonic() < end

        def write() -> None:
            try:
                for piece in self._engine.stream(text, head, wanted=wanted, **options):
                    tell(piece)
                tell(_END)
            except BaseException as problem:
                tell(problem)

        self._gone.add(gone)
        self._idle.clear()
        try:
            try:
                Thread(target=write, name="polyhead-stream", daemon=True).start()
            except RuntimeError as problem:
                raise QueueFull(
                    f"the system has no thread for this answer: {problem}. Answer 503 and let the"
                    " caller try again later."
                ) from problem
            while True:
                each = await found.get()
                if isinstance(each, BaseException):
                    raise each
                if each is _END:  # before its last piece
                    raise _cut(gone, seconds)
                yield each
                if isinstance(each, Generated):
                    return
        finally:
            gone.set()
            self._gone.discard(gone)
            if not self._gone:
                self._idle.set()

    def __len__(self) -> int:
        """Streams that are open."""
        return len(self._gone)

    async def ended(self, seconds: float | None) -> None:
        """Wait so long at most until none is open; None for no limit."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)

    def stop(self) -> None:
        """Have all threads stop before their next token."""
        for gone in self._gone:
            gone.set()


def _cut(gone: Event, seconds: float) -> PolyheadError:
    """Why an answer is not whole."""
    if gone.is_set():
        return BatcherClosed("The batcher was closed while this answer was written.")
    return DeadlineExceeded(
        f"the answer was not whole after deadline_ms={seconds * 1e3:g}. Allow more time, or fewer"
        " tokens with max_tokens."
    )
