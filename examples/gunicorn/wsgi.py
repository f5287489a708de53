"""A bundle behind HTTP, as a plain WSGI application.

    cd examples/gunicorn
    BUNDLE=bundle/ gunicorn --preload --workers 2 --threads 4 wsgi:application

With --preload the engine is loaded once, before the workers fork; each worker makes its own session
when it is asked first. A text gets DEADLINE_MS, less than --graceful-timeout, so that a worker that
ends answers what it has.
"""

import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import polyhead

DEADLINE_MS = float(os.environ.get("DEADLINE_MS", "2000"))
engine = polyhead.load(os.environ["BUNDLE"], threads=int(os.environ.get("THREADS", "2")))


def answer(text: str) -> tuple[str, dict[str, Any]]:
    """Status and content of an answer."""
    end = time.monotonic() + DEADLINE_MS / 1e3
    try:
        found = engine.predict([text], wanted=lambda _: time.monotonic() < end)[0]
    except polyhead.InputError as problem:  # this request is wrong
        return "422 Unprocessable Entity", _said(problem)
    except polyhead.PolyheadError as problem:  # this worker cannot answer, such as without a bundle
        return "503 Service Unavailable", _said(problem)
    if isinstance(found, polyhead.Prediction):
        return "200 OK", found.to_dict()
    late = polyhead.DeadlineExceeded(f"no answer after {DEADLINE_MS:g} ms. Send shorter texts.")
    return "504 Gateway Timeout", _said(late)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer the body of a POST, a text in UTF-8."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    status, content = answer(body.decode("utf-8", "replace"))
    headers = [("Content-Type", "application/json"), ("X-Pid", str(os.getpid()))]
    if status.startswith("503"):
        headers.append(("Retry-After", "1"))
    start_response(status, headers)
    return [json.dumps(content).encode()]


def _said(problem: polyhead.PolyheadError) -> dict[str, str]:
    return {"error": type(problem).__name__, "message": str(problem)}
