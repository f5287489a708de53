"""A client that hangs up, and what is then not computed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request

from polyhead.errors import BatcherClosed
from polyhead.serving.http.problems import ClientGone

# What is answered within this time, as short texts are, is answered before anyone could leave.
_SOON_S = 0.02

T = TypeVar("T")


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives; it is cancelled when the client hangs up, after the body was read.

    Raises:
        ClientGone: when the client hung up.
        BatcherClosed: when the server ended this request, its time of grace being over.
    """
    watch = _Watch(request)
    timer = asyncio.get_running_loop().call_later(_SOON_S, watch.begin)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.gone:
            watch.answering.uncancel()
            raise ClientGone("the client hung up.") from None
        raise BatcherClosed("the time of grace is over.") from None
    finally:
        timer.cancel()
        watch.end()


class _Watch:
    """Cancels the task that made it when its client hangs up."""

    def __init__(self, request: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.answering, self.gone = task, False
        self._request = request
        self._leaving: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Look from now on."""
        self._leaving = asyncio.ensure_future(self._left())

    def end(self) -> None:
        """Look no more."""
        if self._leaving is not None:
            self._leaving.cancel()

    async def _left(self) -> None:
        await self._request.receive()
        self.gone = True
        self.answering.cancel()
