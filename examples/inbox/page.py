"""A page of one's own: one call classifies a message, extracts from it and sums it up.

    pip install "polyhead[serve]"
    BUNDLE=build/inbox/bundle uvicorn page:app --app-dir examples/inbox

`polyhead.serving.app` answers below /api, with all that `polyhead serve` has; the page asks it.
"""

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Mount, Route

from polyhead.serving import app as answers

HERE = Path(__file__).resolve().parent
api = answers(os.environ["BUNDLE"])


async def page(request: Request) -> FileResponse:
    """The page, which needs no network."""
    return FileResponse(HERE / "page.html")


# An application that is mounted is not started by itself.
app = Starlette(routes=[Route("/", page), Mount("/api", api)], lifespan=api.router.lifespan_context)
