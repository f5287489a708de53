"""``/livez``, ``/readyz``, ``/info``, ``/metrics``: whether the server is well, and what it is."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from polyhead.serving.http.bodies import JsonResponse
from polyhead.serving.http.service import ServedModel, Service
from polyhead.system.info import __version__

PUBLIC = ("/livez", "/readyz")


def routes(service: Service) -> list[Route]:
    """The routes of this module."""

    async def livez(_: Request) -> Response:
        return JsonResponse({"live": True})

    async def readyz(_: Request) -> Response:
        return JsonResponse({"ready": service.ready}, 200 if service.ready else 503)

    async def info(_: Request) -> Response:
        service.model()  # or it is not ready
        limits = asdict(service.settings)
        del limits["api_keys"]
        return JsonResponse(
            {
                "polyhead": __version__,
                "pid": os.getpid(),
                "limits": limits,
                "models": {name: _of(model) for name, model in service.models.items()},
            }
        )

    async def metrics(_: Request) -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/livez", livez),
        Route("/readyz", readyz),
        Route("/info", info),
        Route("/metrics", metrics),
    ]


def _of(model: ServedModel) -> dict[str, Any]:
    """What runs, but no path of this machine."""
    return {name: value for name, value in model.engine.info().items() if name != "source"}
