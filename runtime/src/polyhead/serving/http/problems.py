"""Errors as problem documents (RFC 9457), with the name of their class and never a stack trace."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, ClassVar

from polyhead.errors import (
    BatcherClosed,
    DeadlineExceeded,
    EngineClosed,
    InputError,
    PolyheadError,
    QueueFull,
)

MEDIA_TYPE = "application/problem+json"
INTERNAL = "InternalError"
"""The name of what polyhead did not raise on purpose."""


class RequestError(PolyheadError):
    """An HTTP request that this server does not take.

    Attributes:
        status: of HTTP.
    """

    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST


class MalformedRequest(RequestError):
    """A body that is no JSON, or has other fields than the route knows."""


class NotAuthorized(RequestError):
    """No API key, or one that this server does not know."""

    status = HTTPStatus.UNAUTHORIZED


class NotFound(RequestError):
    """No route of this path."""

    status = HTTPStatus.NOT_FOUND


class UnknownModel(RequestError):
    """No model of this name is served."""

    status = HTTPStatus.NOT_FOUND


class MethodNotAllowed(RequestError):
    """The route answers other methods."""

    status = HTTPStatus.METHOD_NOT_ALLOWED


class BodyTimeout(RequestError):
    """The body did not come in time."""

    status = HTTPStatus.REQUEST_TIMEOUT


class BodyTooLarge(RequestError):
    """A body of more bytes than this server reads."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class TooManyTexts(RequestError):
    """More texts than one request may have."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class ClientGone(RequestError):
    """The client hung up before its answer; nobody reads this."""


class NotReady(RequestError):
    """The server loads its models, or is about to end."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


_STATUS: tuple[tuple[type[PolyheadError], HTTPStatus], ...] = (
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (QueueFull, HTTPStatus.TOO_MANY_REQUESTS),
    (DeadlineExceeded, HTTPStatus.GATEWAY_TIMEOUT),
    (BatcherClosed, HTTPStatus.SERVICE_UNAVAILABLE),
    (EngineClosed, HTTPStatus.SERVICE_UNAVAILABLE),
)
# What these say is for who runs the server.
_FOR_CALLERS: tuple[tuple[type[PolyheadError], str], ...] = (
    (
        QueueFull,
        "this server has more work than it can answer in time, so that nothing was computed for"
        " this request. Try again after as many seconds as Retry-After says, or send less.",
    ),
    (
        DeadlineExceeded,
        "there was no answer in the time that this request had. Send shorter texts, or fewer at a"
        " time, or try again later.",
    ),
    (BatcherClosed, "this server is about to end. Ask another one, or try again later."),
    (EngineClosed, "this server is about to end. Ask another one, or try again later."),
)


def status_of(problem: Exception) -> int:
    """The status of HTTP for an error; 500 for one that no request can be blamed for."""
    if isinstance(problem, RequestError):
        return problem.status
    known = (status for kind, status in _STATUS if isinstance(problem, kind))
    return next(known, HTTPStatus.INTERNAL_SERVER_ERROR)


def document(problem: Exception, *, index: int | None = None) -> dict[str, Any]:
    """An error as plain data: type, title, status and detail, and the index of its text.

    Args:
        problem: any error; of one that polyhead did not raise on purpose only the log tells more.
        index: of the text among those of the request; None for what is of no single text.
    """
    status = status_of(problem)
    if isinstance(problem, PolyheadError):
        name, detail = type(problem).__name__, _detail(problem, index)
    else:
        name = INTERNAL
        detail = "this server failed; its log says how. Other requests may be answered."
    found: dict[str, Any] = {
        "type": f"urn:polyhead:error:{name}",
        "title": name,
        "status": int(status),
        "detail": detail,
    }
    return found if index is None else {**found, "index": index}


def headers_of(problem: Exception) -> dict[str, str]:
    """What an answer with this error has among its headers."""
    status = status_of(problem)
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        wait = getattr(problem, "expected_wait_s", 0.0)
        return {"Retry-After": str(max(1, math.ceil(wait)))}
    return {}


def _detail(problem: PolyheadError, index: int | None) -> str:
    told = next((text for kind, text in _FOR_CALLERS if isinstance(problem, kind)), str(problem))
    if index is not None and told.startswith("input 0:"):
        told = f"input {index}:{told.removeprefix('input 0:')}"
    return told.encode("utf-8", "backslashreplace").decode()  # a name may hold half a character
