"""The ASGI application: the routes of all modules over one service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from polyhead.errors import InvalidSetting, PolyheadError, nearest
from polyhead.serving.http import (
    admin,
    embeddings,
    health,
    kserve,
    openapi,
    pages,
    predict,
    stream,
    tokenize,
)
from polyhead.serving.http.bodies import ProblemResponse
from polyhead.serving.http.front import Front
from polyhead.serving.http.metrics import refused
from polyhead.serving.http.problems import MethodNotAllowed, NotFound
from polyhead.serving.http.service import Service, names_for
from polyhead.serving.http.settings import ServiceSettings

_MODULES = (predict, stream, tokenize, embeddings, kserve, health, admin, openapi, pages)
"""Each has ``routes(service)``, asked in this order, and says with ``PUBLIC`` which of its paths
need no API key."""


def service_for(bundle: Any, settings: Mapping[str, Any]) -> Service:
    """A service of what `polyhead.serving.app` takes.

    Raises:
        InvalidSetting: for an unknown setting, or one out of its range.
    """
    known = [each.name for each in fields(ServiceSettings)]
    for name in settings:
        if name not in known:
            raise InvalidSetting(
                f"{name}: no setting of a service; allowed: {', '.join(known)}."
                f"{nearest(name, known)}"
            )
    if isinstance(bundle, str | Path):
        bundle = [bundle]
    served = bundle if isinstance(bundle, Mapping) else names_for(bundle)
    return Service(served, ServiceSettings(**settings))


def application(service: Service) -> Starlette:
    """The application; the models are loaded when it starts and freed when it ends."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with service:
            yield

    public = [path for module in _MODULES for path in getattr(module, "PUBLIC", ())]
    return Starlette(
        routes=[route for module in _MODULES for route in module.routes(service)],
        middleware=[Middleware(Front, service=service, public=public)],
        exception_handlers={PolyheadError: _refused, HTTPException: _unrouted},
        lifespan=lifespan,
    )


async def _refused(_: Request, problem: Exception) -> Response:
    return _answered(problem)


async def _unrouted(request: Request, problem: Exception) -> Response:
    """What the router itself says."""
    assert isinstance(problem, HTTPException)
    path, method = request.url.path[:200], request.method
    if problem.status_code == MethodNotAllowed.status:
        allowed = (problem.headers or {}).get("Allow", "")
        answer = _answered(MethodNotAllowed(f"{path} answers {allowed}; found {method}."))
        answer.headers["Allow"] = allowed
        return answer
    return _answered(NotFound(f"there is no {path!r} here. GET /info names what there is."))


def _answered(problem: Exception) -> ProblemResponse:
    refused(problem)
    return ProblemResponse(problem)
