"""Comes in: a service with its models. Goes out: ``/openapi.json``, which describes all routes."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from polyhead.serving.http.bodies import JsonResponse
from polyhead.serving.http.openapi.document import document
from polyhead.serving.http.service import Service


def routes(service: Service) -> list[Route]:
    """The route of this module."""

    async def openapi(_: Request) -> Response:
        service.model()  # or it is not ready
        return JsonResponse(document(service))

    return [Route("/openapi.json", openapi)]
