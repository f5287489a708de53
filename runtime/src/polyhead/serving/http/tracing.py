"""Spans of OpenTelemetry, where this process has it: ``opentelemetry-instrument polyhead serve``.

Nothing is imported for it. A process whose exporter was set up has imported it by the time that the
application is made, and in any other spans go nowhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.types import Scope

from polyhead.serving.http.metrics import RequestFacts


def tracer() -> Any:
    """A tracer; None where nobody has set OpenTelemetry up."""
    trace = sys.modules.get("opentelemetry.trace")
    return None if trace is None else trace.get_tracer("polyhead")


@contextmanager
def span(
    tracer: Any, scope: Scope, headers: Mapping[bytes, bytes], facts: RequestFacts
) -> Iterator[None]:
    """A span of a request, below that of its caller, with what is known of it at the end."""
    if tracer is None:
        yield
        return
    from opentelemetry import propagate, trace

    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
    with tracer.start_as_current_span(
        f"{scope['method']} {scope['path'][:100]}",
        context=propagate.extract(carrier),
        kind=trace.SpanKind.SERVER,
    ) as found:
        try:
            yield
        finally:
            for name in ("model", "head_set", "outcome"):
                found.set_attribute(f"polyhead.{name}", getattr(facts, name))
