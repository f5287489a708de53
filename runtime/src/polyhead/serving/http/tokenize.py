"""``POST /v1/tokenize``: texts as the encoder reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from polyhead.engine import Engine
from polyhead.errors import InputError, QueueFull
from polyhead.prediction import utf16_offsets
from polyhead.serving.http.bodies import JsonResponse, decoded
from polyhead.serving.http.service import Service, check_count
from polyhead.serving.http.texts import TextsRequest, in_places
from polyhead.text.encoding import Encoding

_MOST_AT_ONCE = 8


def routes(service: Service) -> list[Route]:
    """The route of this module."""
    running = 0

    async def tokenize(request: Request) -> Response:
        nonlocal running
        asked = await decoded(request, TextsRequest, service.settings.max_body)
        model, inputs = service.model(asked.model), asked.inputs()
        check_count(inputs, service.settings.max_texts)
        if running >= _MOST_AT_ONCE:
            raise QueueFull(f"{running} requests are being tokenised.", expected_wait_s=1)
        running += 1
        try:
            found = await asyncio.to_thread(_encoded, model.engine, inputs)
        finally:
            running -= 1
        utf16 = asked.offsets == "utf16"
        if asked.texts is None:
            (only,) = found
            if isinstance(only, InputError):
                raise only
            return JsonResponse({"model": model.name, **plain(only, utf16=utf16)})
        texts = in_places(found, lambda encoding: plain(encoding, utf16=utf16))
        return JsonResponse({"model": model.name, "texts": texts})

    return [Route("/v1/tokenize", tokenize, methods=["POST"])]


def plain(encoding: Encoding, *, utf16: bool) -> dict[str, Any]:
    """An encoding as plain data.

    ``ids``, ``offsets`` into the text and ``special``, all of one length; ``windows`` as pairs of
    the first token and the one past the last; ``truncated``.
    """
    place: Callable[[int], int] = utf16_offsets(encoding.text) if utf16 else int
    return {
        "ids": encoding.ids.tolist(),
        "offsets": [[place(start), place(end)] for start, end in encoding.offsets.tolist()],
        "special": encoding.special.tolist(),
        "windows": [[window.start, window.stop] for window in encoding.windows],
        "truncated": encoding.truncated,
    }


def _encoded(engine: Engine, inputs: list[Any]) -> list[Encoding | InputError]:
    found: list[Encoding | InputError] = []
    for each in inputs:
        try:
            (encoding,) = engine.encode([tuple(each) if isinstance(each, list) else each])
            found.append(encoding)
        except InputError as problem:
            found.append(problem.with_traceback(None))
    return found
