"""The routes for OpenAPI: what they take and give, models aside."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from polyhead.serving.http.openapi.bodies import TEXT
from polyhead.serving.http.openapi.heads import COUNT, reference
from polyhead.serving.http.settings import ServiceSettings

TAGS = {
    "answers": "Answers",
    "openai": "OpenAI's form",
    "kserve": "Open Inference Protocol (KServe v2)",
    "server": "The server",
}

_FAILURES = {
    400: "The body is not what the route reads.",
    401: "No API key, or none that is known.",
    404: "No such model.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    422: "A text, head or option that cannot be used, or too many texts.",
    500: "The server is at fault, or a bundle that it reads again.",
    429: "More work than can be done in time; see Retry-After.",
    503: "Not ready, or about to end.",
    504: "No answer before the deadline.",
}
_FORMS = {
    "Problem": ("application/problem+json", ""),
    "OpenAIError": ("application/json", "openai"),
    "InferError": ("application/json", "infer"),
}

RESPONSES: dict[str, Any] = {
    f"{prefix}{status}": {
        "description": text,
        "content": {media: {"schema": reference(form)}},
        **(
            {"headers": {"Retry-After": {"schema": COUNT, "description": "Seconds."}}}
            if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
            else {}
        ),
    }
    for form, (media, prefix) in _FORMS.items()
    for status, text in _FAILURES.items()
}
"""What goes wrong, by status, in each of the forms that clients know."""


def _operation(
    tag: str,
    summary: str,
    gives: str | dict[str, Any],
    *,
    takes: str | None = None,
    failures: Sequence[int] = (),
    form: str = "Problem",
    public: bool = False,
) -> dict[str, Any]:
    """One method of a path; `gives` is a schema's name, or the content by media type."""
    _, prefix = _FORMS[form]
    content = (
        {"application/json": {"schema": reference(gives)}} if isinstance(gives, str) else gives
    )
    found: dict[str, Any] = {"tags": [tag], "summary": summary}
    if takes is not None:
        body = {"application/json": {"schema": reference(takes)}}
        found["requestBody"] = {"required": True, "content": body}
    # The key is looked at before a route is, so that it is never in the route's own form.
    keyed = {} if public else {"401": {"$ref": "#/components/responses/401"}}
    found["responses"] = {
        "200": {"description": "The answer.", "content": content},
        **keyed,
        **{str(n): {"$ref": f"#/components/responses/{prefix}{n}"} for n in failures},
    }
    return found | ({"security": []} if public else {})


_WORK = (400, 404, 408, 413, 422, 429, 503, 504)
_OPENAI_WORK = tuple(status for status in _WORK if status != HTTPStatus.UNPROCESSABLE_ENTITY)
_JSON = {"application/json": {"schema": {"type": "object"}}}
_HTML = {"text/html": {"schema": TEXT}}
_PLAIN = {"text/plain": {"schema": TEXT}}


_STREAM = {
    "/v1/stream": {
        "post": _operation(
            "answers",
            "An answer as it is written: events with its pieces, and at last one with the result",
            {"text/event-stream": {"schema": TEXT}},
            takes="StreamRequest",
            failures=_WORK,
        )
    }
}


def paths(
    models: Sequence[str], settings: ServiceSettings, *, streams: bool = False
) -> dict[str, Any]:
    """All routes; those with a model in the path name the models.

    Args:
        models: served names.
        settings: of the server.
        streams: whether a head writes.
    """
    found = {
        "/v1/predict": {
            "post": _operation(
                "answers",
                "Answer a text, a pair, or many of them",
                "PredictResponse",
                takes="PredictRequest",
                failures=_WORK,
            )
        },
        "/v1/tokenize": {
            "post": _operation(
                "answers",
                "Texts as the encoder reads them",
                "TokenizeResponse",
                takes="TokenizeRequest",
                failures=[status for status in _WORK if status != HTTPStatus.GATEWAY_TIMEOUT],
            )
        },
        **(_STREAM if streams else {}),
        **_openai(),
        **_kserve(models),
        "/livez": {"get": _operation("server", "Whether it runs", "Live", public=True)},
        "/readyz": {"get": _ready("Whether it answers")},
        "/info": {"get": _operation("server", "What runs", _JSON, failures=[503])},
        "/metrics": {"get": _operation("server", "Metrics for Prometheus", _PLAIN)},
        "/openapi.json": {"get": _operation("server", "This document", _JSON, failures=[503])},
        "/docs": {"get": _operation("server", "This document as a page", _HTML, public=True)},
        "/": {"get": _operation("server", "The playground", _HTML, public=True)},
    }
    if settings.api_keys:
        reload = _operation(
            "server", "Read the bundles again", "Reloaded", failures=[404, 500, 503]
        )
        model = {"name": "model", "in": "query", "schema": {"type": "string", "enum": [*models]}}
        found["/admin/reload"] = {"post": reload | {"parameters": [model]}}
    return found


def _ready(summary: str, tag: str = "server") -> dict[str, Any]:
    """Whether a server is ready, which a status says, too."""
    found = _operation(tag, summary, "Ready", public=True)
    found["responses"]["503"] = {**found["responses"]["200"], "description": "Not ready."}
    return found


def _openai() -> dict[str, Any]:
    return {
        "/v1/embeddings": {
            "post": _operation(
                "openai",
                "Embed a text or many",
                "EmbeddingsResponse",
                takes="EmbeddingsRequest",
                failures=_OPENAI_WORK,
                form="OpenAIError",
            )
        },
        "/v1/models": {
            "get": _operation("openai", "What embeds", "Models", failures=[503], form="OpenAIError")
        },
    }


def _kserve(models: Sequence[str]) -> dict[str, Any]:
    form, tag = "InferError", "kserve"
    live = _operation(tag, "Whether it runs", "Live", public=True)
    found: dict[str, Any] = {
        "/v2": {"get": _operation(tag, "What serves", "ServerMetadata")},
        "/v2/health/live": {"get": live},
        "/v2/health/ready": {"get": _ready("Whether it answers", tag)},
    }
    names = {"type": "string", "enum": list(models)}
    model = {"name": "model", "in": "path", "required": True, "schema": names}
    version = {"name": "version", "in": "path", "required": True, "schema": {"const": "1"}}
    for path, given in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        about = _operation(tag, "A model", "ModelMetadata", failures=[404, 503], form=form)
        ready = _operation(
            tag, "Whether a model answers", "ModelReady", failures=[404, 503], form=form
        )
        infer = _operation(
            tag,
            "Answer BYTES; one tensor a head",
            "InferResponse",
            takes="InferRequest",
            failures=_WORK,
            form=form,
        )
        found[path] = {"parameters": given, "get": about}
        found[f"{path}/ready"] = {"parameters": given, "get": ready}
        found[f"{path}/infer"] = {"parameters": given, "post": infer}
    return found
