"""``POST /v1/stream``: an answer as it is written, in server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from polyhead.errors import PolyheadError
from polyhead.heads.generation import Generated
from polyhead.prediction import utf16_offsets
from polyhead.serving.http import problems
from polyhead.serving.http.bodies import decoded
from polyhead.serving.http.leaving import unless_gone
from polyhead.serving.http.metrics import refused
from polyhead.serving.http.service import Service
from polyhead.serving.http.texts import TextsRequest

_encoder = msgspec.json.Encoder()


class StreamRequest(TextsRequest):
    """The body.

    Attributes:
        head: one that writes; None for the only one of the model.
        options: of the head.
        deadline_ms: milliseconds that the caller waits; None for those of the server.
    """

    head: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    deadline_ms: float | None = None


def routes(service: Service) -> list[Route]:
    """The route of this module."""

    async def stream(request: Request) -> Response:
        asked = await decoded(request, StreamRequest, service.settings.max_body)
        text = asked.single()
        name, head, pieces = service.stream(
            asked.model, text, asked.head, asked.options, asked.deadline_ms
        )
        try:  # what is wrong with a request is known before its first piece
            first = await unless_gone(request, anext(pieces))
        except BaseException:
            await pieces.aclose()
            raise
        place = utf16_offsets(text if isinstance(text, str) else text[1])

        def result(found: Generated) -> bytes:
            told = found.with_offsets(place) if asked.offsets == "utf16" else found
            return event({"model": name, "head": head, "result": told.to_dict()}, "result")

        async def events() -> AsyncIterator[bytes]:
            async with aclosing(pieces):
                each: str | Generated | None = first
                try:
                    while each is not None and not await request.is_disconnected():
                        yield event({"text": each}) if isinstance(each, str) else result(each)
                        each = await anext(pieces, None)
                except PolyheadError as problem:
                    refused(problem)
                    yield event(problems.document(problem), "error")

        return StreamingResponse(
            events(),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return [Route("/v1/stream", stream, methods=["POST"])]


def event(data: dict[str, Any], kind: str | None = None) -> bytes:
    """One event; JSON has no line break that would end its data."""
    named = b"" if kind is None else b"event: " + kind.encode() + b"\n"
    return named + b"data: " + _encoder.encode(data) + b"\n\n"
