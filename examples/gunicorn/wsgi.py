"""A bundle behind HTTP, as a plain WSGI application.

    cd examples/gunicorn
    BUNDLE=bundle/ gunicorn --preload --workers 2 --threads 4 wsgi:application

With --preload the engine is loaded once, before the workers fork; each worker makes its own session
when it is asked first.
"""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import polyhead

engine = polyhead.load(os.environ["BUNDLE"], threads=int(os.environ.get("THREADS", "2")))


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer the body of a POST, a text in UTF-8."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    try:
        found = engine(body.decode("utf-8", "replace")).to_dict()
        status = "200 OK"
    except polyhead.InputError as problem:
        found, status = {"message": str(problem)}, "422 Unprocessable Entity"
    start_response(status, [("Content-Type", "application/json"), ("X-Pid", str(os.getpid()))])
    return [json.dumps(found).encode()]
