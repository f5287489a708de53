"""``POST /admin/reload``: the bundles are read again, under traffic."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from polyhead.serving.http.bodies import JsonResponse
from polyhead.serving.http.service import Service


def routes(service: Service) -> list[Route]:
    """The route of this module; none where no API key protects it."""

    async def reload(request: Request) -> Response:
        name = request.query_params.get("model")
        await service.reload(name)
        service.tell_others()
        return JsonResponse({"reloaded": list(service.models) if name is None else [name]})

    return [Route("/admin/reload", reload, methods=["POST"])] if service.settings.api_keys else []
