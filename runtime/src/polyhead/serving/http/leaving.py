"""A client that hangs up, and what is then not computed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request

from polyhead.errors import BatcherClosed
from polyhead.serving.http.problems import ClientGone

T = TypeVar("T")


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives; it is cancelled when the client hangs up, after the body was read.

    Raises:
        ClientGone: when the client hung up.
        BatcherClosed: when the server ended this request, its time of grace being over.
    """
    answering = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ClientGone("the client hung up.")
        return answering.result()
    except asyncio.CancelledError:
        raise BatcherClosed("the time of grace is over.") from None
    finally:
        answering.cancel()
        leaving.cancel()
