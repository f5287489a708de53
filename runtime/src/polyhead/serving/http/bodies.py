"""Bodies of requests, read and checked within limits; answers, written as JSON."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from polyhead.errors import PolyheadError
from polyhead.serving.http import problems
from polyhead.serving.http.problems import BodyTimeout, BodyTooLarge, ClientGone, MalformedRequest
from polyhead.system.schema import parse_json

_BODY_SECONDS = 30.0
"""In which a body must come, so that a slow client holds no memory for long."""

T = TypeVar("T")
_encoder = msgspec.json.Encoder()


class JsonResponse(Response):
    """Plain data as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return _encoder.encode(content)


class ProblemResponse(JsonResponse):
    """An error as a problem document."""

    media_type = problems.MEDIA_TYPE

    def __init__(self, problem: Exception) -> None:
        super().__init__(
            problems.document(problem), problems.status_of(problem), problems.headers_of(problem)
        )


def length_of(request: Request) -> int:
    """The bytes of a body that its head announces; very many where it announces none."""
    announced = request.headers.get("content-length", "")
    known = announced.isascii() and announced.isdigit() and len(announced) < 20
    return int(announced) if known else 1 << 62


async def read(request: Request, most: int) -> bytes:
    """The body of a request.

    Raises:
        BodyTooLarge: when it has more than `most` bytes, of which no more are read.
        BodyTimeout: when it does not come within half a minute.
        ClientGone: when the client hangs up meanwhile.
    """
    too_large = f"the body has more than the {most:,} bytes that this server reads. Send less."
    if request.headers.get("content-length") is not None and length_of(request) > most:
        raise BodyTooLarge(too_large)
    parts, size = [], 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            more = True
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone("the client hung up.")
                part, more = message.get("body", b""), message.get("more_body", False)
                size += len(part)
                if size > most:
                    raise BodyTooLarge(too_large)
                parts.append(part)
    except TimeoutError:
        raise BodyTimeout(
            f"the body did not come within {_BODY_SECONDS:g} s. Send it at once."
        ) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def decoded(request: Request, kind: type[T], most: int) -> T:
    """The body of a request as a `msgspec.Struct`.

    Raises:
        MalformedRequest: for what is no JSON, or not of this kind; and what `read` raises.
    """
    return parsed(await read(request, most), kind)


def parsed(body: bytes, kind: type[T]) -> T:
    """JSON as a `msgspec.Struct`.

    What the fast parser refuses as JSON is read again by a slow one, since half a surrogate pair in
    one of many texts is that text's fault.

    Raises:
        MalformedRequest: for what is no JSON, or not of this kind.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as problem:
        raise MalformedRequest(f"body: {problem}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _slowly(body, kind)


def _slowly(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.convert(parse_json(body.decode(), "body", MalformedRequest), kind)
    except PolyheadError as problem:
        raise problem.with_traceback(None) from None
    except (msgspec.ValidationError, UnicodeError, RecursionError) as problem:
        # Half a surrogate pair in a name or a setting is no UTF-8 either.
        raise MalformedRequest(f"body: not valid JSON in UTF-8: {problem}.") from None
