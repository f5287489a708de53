"""The playground at ``/`` and the description of all routes at ``/docs``: pages without a network.

Each is sent as one file, with its style and scripts inside, under a policy that allows nothing else
to run: a text that a page shows cannot become a part of the page.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from polyhead.serving.http.service import Service

PUBLIC = ("/", "/docs")

_PARTS = re.compile(r'<link rel="stylesheet" href="(\w+\.css)">|<script src="(\w+\.js)"></script>')


@cache
def page(name: str) -> tuple[str, str]:
    """A page with what it links to inside, and its content security policy."""
    hashes: dict[str, list[str]] = {"style": [], "script": []}

    def inside(link: re.Match[str]) -> str:
        tag = "style" if link[1] else "script"
        text = _text(link[1] or link[2])
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[tag].append(f"'sha256-{digest}'")
        return f"<{tag}>{text}</{tag}>"

    html = _PARTS.sub(inside, _text(name))
    policy = (
        "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none';"
        f" style-src {' '.join(hashes['style'])}; script-src {' '.join(hashes['script'])}"
    )
    return html, policy


def _text(name: str) -> str:
    return (files(__package__) / "static" / name).read_text(encoding="utf-8")


def _answer(name: str) -> HTMLResponse:
    html, policy = page(name)
    return HTMLResponse(
        html,
        headers={
            "Content-Security-Policy": policy,
            "Cache-Control": "no-cache",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
    )


async def playground(request: Request) -> HTMLResponse:
    """The page that answers a text as it is typed."""
    return _answer("playground.html")


async def docs(request: Request) -> HTMLResponse:
    """What ``/openapi.json`` says, for people."""
    return _answer("docs.html")


def routes(service: Service) -> list[Route]:
    """Both pages."""
    return [Route("/", playground), Route("/docs", docs)]
