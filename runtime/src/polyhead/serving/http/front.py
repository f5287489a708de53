"""What every request passes before its route: the key, the clock, the trace."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from collections.abc import Collection
from hashlib import sha256

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polyhead.serving.http import problems, tracing
from polyhead.serving.http.bodies import ProblemResponse
from polyhead.serving.http.metrics import RequestFacts, current
from polyhead.serving.http.problems import NotAuthorized
from polyhead.serving.http.service import Service

_log = logging.getLogger(__name__)
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Front:
    """Checks the API key, measures, and passes the trace context on."""

    def __init__(self, app: ASGIApp, service: Service, public: Collection[str]) -> None:
        """Stand before an application.

        Args:
            app: answers.
            service: whose keys and metrics these are.
            public: paths that need no key, and are not measured.
        """
        self._app, self._service, self._public = app, service, frozenset(public)
        self._keys = [_digest(key.encode()) for key in service.settings.api_keys]
        self._tracer = tracing.tracer()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["path"] in self._public:
            await self._app(scope, receive, send)
            return
        begun, facts = time.perf_counter(), RequestFacts()
        token = current.set(facts)
        headers = dict(scope["headers"])
        trace = headers.get(b"traceparent", b"")
        trace = trace if _TRACEPARENT.fullmatch(trace) else b""

        answering = False

        async def passed_on(message: Message) -> None:
            nonlocal answering
            if message["type"] == "http.response.start":
                answering = True
                milliseconds = 1e3 * (time.perf_counter() - begun)
                own = [(b"server-timing", b"total;dur=%.2f" % milliseconds)]
                own += [(b"traceparent", trace)] if trace else []
                message["headers"] = [*message["headers"], *own]
            await send(message)

        metrics = self._service.metrics
        metrics.begun()
        try:
            with tracing.span(self._tracer, scope, headers, facts):
                if self._authorized(headers):
                    await self._app(scope, receive, passed_on)
                else:
                    facts.outcome = NotAuthorized.__name__
                    await ProblemResponse(_no_key(headers))(scope, receive, passed_on)
        except Exception as problem:  # a bug; the connection stays, as for other errors
            facts.outcome = problems.INTERNAL
            if answering:
                raise
            _log.exception("%s %r", scope["method"], scope["path"][:200])
            await ProblemResponse(problem)(scope, receive, passed_on)
        except asyncio.CancelledError:
            facts.outcome = "cancelled"
            raise
        finally:
            metrics.ended(facts, time.perf_counter() - begun)
            current.reset(token)

    def _authorized(self, headers: dict[bytes, bytes]) -> bool:
        """Compares digests, all of them, so that the time it takes tells nothing of a key."""
        if not self._keys:
            return True
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        given = _digest(key.strip())
        same = [hmac.compare_digest(given, own) for own in self._keys]
        return any(same) and scheme.lower() == b"bearer"


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()


def _no_key(headers: dict[bytes, bytes]) -> NotAuthorized:
    found = "one that this server does not know" if b"authorization" in headers else "none"
    return NotAuthorized(
        f"API key: found {found}. Send the header 'Authorization: Bearer KEY' with a key of this"
        " server."
    )
