"""A bundle behind HTTP with Ray Serve: a replica a core, each with an engine of one thread.

pip install polyhead "ray[serve]"
BUNDLE=bundle/ REPLICAS=2 serve run service:app
curl localhost:8000 -H 'content-type: application/json' -d '{"text": "Where is it?"}'
"""

import os
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

import polyhead


@serve.deployment(
    num_replicas=int(os.environ.get("REPLICAS", "2")), ray_actor_options={"num_cpus": 1}
)
class Answers:
    """Collects what arrives while the engine is busy, and answers it together."""

    async def __init__(self, bundle: str) -> None:
        engine = polyhead.load(bundle, threads=1)
        self.batcher = await polyhead.Batcher(engine, deadline_ms=2000).__aenter__()

    async def __call__(self, request: Request) -> JSONResponse:
        """Answer ``{"text": …, "heads": [...]}``; the heads may be left out."""
        body: dict[str, Any] = await request.json()
        try:
            found = await self.batcher.predict(body.get("text"), heads=body.get("heads"))
        except polyhead.InputError as problem:
            return _said(422, problem)
        except (polyhead.QueueFull, polyhead.DeadlineExceeded) as problem:
            return _said(503, problem)
        return JSONResponse(found.to_dict())


def _said(status: int, problem: polyhead.PolyheadError) -> JSONResponse:
    told = {"error": type(problem).__name__, "message": str(problem)}
    return JSONResponse(told, status_code=status)


app = Answers.bind(os.environ["BUNDLE"])
