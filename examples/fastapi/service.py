"""A bundle behind HTTP, with FastAPI.

    pip install "polyhead[prometheus]" fastapi uvicorn
    BUNDLE=bundle/ THREADS=2 uvicorn service:app --app-dir examples/fastapi --workers 2
    curl localhost:8000/predict -H 'content-type: application/json' -d '{"text": "Where is it?"}'

Each worker is a process with an engine of its own: give each its share of the cores in THREADS.
SIGTERM ends it when all are answered, after DEADLINE_MS at most; give uvicorn a shorter limit with
``--timeout-graceful-shutdown``, if you like.
"""

import asyncio
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import prometheus_client
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

import polyhead
from polyhead.serving import prometheus as metrics

DEADLINE_MS = float(os.environ.get("DEADLINE_MS", "2000"))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load once a worker; on the way out answer what waits, then give all threads back."""
    registry = prometheus_client.CollectorRegistry()
    with polyhead.load(os.environ["BUNDLE"], threads=int(os.environ.get("THREADS", "2"))) as engine:
        async with polyhead.Batcher(engine, max_queue=512, deadline_ms=DEADLINE_MS) as batcher:
            metrics.register(batcher, registry)
            app.state.engine, app.state.batcher, app.state.registry = engine, batcher, registry
            yield


app = FastAPI(title="polyhead", lifespan=lifespan)

STATUS = {
    polyhead.InputError: 422,  # this request is wrong; others like it will be, too
    polyhead.DeadlineExceeded: 504,
}


@app.exception_handler(polyhead.PolyheadError)
async def refused(request: Request, problem: polyhead.PolyheadError) -> JSONResponse:
    """Errors of polyhead say what was found and what to do; show that to the caller.

    All others mean that this worker cannot answer now: too many at once, shutting down, or a bundle
    that cannot be read. Another worker may, and so may this one later.
    """
    status = next((code for kind, code in STATUS.items() if isinstance(problem, kind)), 503)
    content = {"error": type(problem).__name__, "message": str(problem)}
    wait = math.ceil(getattr(problem, "expected_wait_s", 0)) or 1
    return JSONResponse(content, status, {"Retry-After": str(wait)} if status == 503 else None)


class Question(BaseModel):
    """A text, or a pair of texts, and which heads shall answer it."""

    text: str | tuple[str, str]
    heads: list[str] | None = None
    options: dict[str, dict[str, Any]] | None = None


@app.post("/predict")
async def predict(question: Question, request: Request) -> dict[str, Any]:
    """All asked heads for one text, in one pass of the encoder; nothing for a client that left."""
    batcher: polyhead.Batcher = request.app.state.batcher
    asked = batcher.predict(question.text, heads=question.heads, options=question.options)
    answer = asyncio.ensure_future(asked)
    left = asyncio.ensure_future(request.receive())  # after the body this is the client's end
    try:
        await asyncio.wait((answer, left), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise HTTPException(499, "The client left.")
        return answer.result().to_dict()
    except asyncio.CancelledError as stopped:  # by --timeout-graceful-shutdown
        raise polyhead.BatcherClosed("This server is shutting down. Ask another one.") from stopped
    finally:
        answer.cancel()  # its text is computed no further
        left.cancel()


@app.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """What really runs in this worker."""
    info: dict[str, Any] = request.app.state.engine.info()
    return {**info, "pid": os.getpid()}


@app.get("/metrics")
async def numbers(request: Request) -> Response:
    """This worker's counters for Prometheus."""
    text = prometheus_client.generate_latest(request.app.state.registry)
    return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)
