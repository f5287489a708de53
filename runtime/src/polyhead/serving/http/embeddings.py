"""``POST /v1/embeddings`` and ``GET /v1/models`` in OpenAI's form, for heads that embed.

A model is called as it is served, for its first such head, or ``NAME:HEAD``.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from polyhead.errors import InputError, PolyheadError, nearest
from polyhead.heads import Embedding, HeadSpec
from polyhead.prediction import Prediction
from polyhead.serving.http import problems
from polyhead.serving.http.bodies import JsonResponse, decoded, length_of
from polyhead.serving.http.leaving import unless_gone
from polyhead.serving.http.metrics import refused
from polyhead.serving.http.problems import MalformedRequest, UnknownModel
from polyhead.serving.http.service import Service

KIND = "embedding.v1"


class EmbeddingsRequest(msgspec.Struct):
    """The body; fields of OpenAI's that say nothing here, such as ``user``, are passed over.

    Attributes:
        input: a text, or a list of texts; token ids are no text.
        model: as `GET /v1/models` lists them.
        dimensions: of the vectors, one of the sizes that the head was trained for; None for all.
        encoding_format: ``base64`` is that of float32, the least byte first.
    """

    input: Any
    model: str
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] = "float"


def routes(service: Service) -> list[Route]:
    """The routes of this module."""

    async def embeddings(request: Request) -> Response:
        try:
            service.check_hope(length_of(request))
            asked = await decoded(request, EmbeddingsRequest, service.settings.max_body)
            return JsonResponse(await unless_gone(request, _embedded(service, asked)))
        except PolyheadError as problem:
            return _refusal(problem)

    async def models(_: Request) -> Response:
        try:
            service.model()  # or it is not ready
            found = [{"id": name, **_ABOUT} for name in _names(service)]
            return JsonResponse({"object": "list", "data": found})
        except PolyheadError as problem:
            return _refusal(problem)

    return [
        Route("/v1/embeddings", embeddings, methods=["POST"]),
        Route("/v1/models", models),
    ]


_ABOUT = {"object": "model", "created": 0, "owned_by": "polyhead"}


def _names(service: Service) -> Iterator[str]:
    """What may be asked for: a model, and each of its heads where it has several that embed."""
    for model in service.models.values():
        heads = [name for name, spec in model.engine.heads.items() if _embeds(spec)]
        if heads:
            yield model.name
        if len(heads) > 1:
            yield from (f"{model.name}:{head}" for head in heads)


def _embeds(spec: HeadSpec) -> bool:
    return spec.kind == KIND and spec.input == "text"


def _head(service: Service, asked: str) -> tuple[str, str]:
    """Model and head.

    Raises:
        UnknownModel: for another model, and one without such a head.
    """
    name, _, head = asked.partition(":")
    if name in service.models:
        specs = service.model(name).engine.heads
        for found, spec in specs.items():
            if _embeds(spec) and head in ("", found):
                return name, found
    service.model()  # or it is not ready
    known = list(_names(service))
    raise UnknownModel(
        f"model: found {asked!r}, with a head that embeds there are {', '.join(known) or 'none'}."
        f"{nearest(asked, known)}"
    )


async def _embedded(service: Service, asked: EmbeddingsRequest) -> dict[str, Any]:
    inputs = [asked.input] if isinstance(asked.input, str) else asked.input
    if not isinstance(inputs, list) or not inputs or not all(isinstance(t, str) for t in inputs):
        raise MalformedRequest(
            "input: expected a text, or a list of texts that is not empty. Token ids are not"
            " understood: they would be another model's."
        )
    name, head = _head(service, asked.model)
    options = None if asked.dimensions is None else {head: {"dimensions": asked.dimensions}}
    data, tokens = [], 0
    for index, found in enumerate(await service.answer(name, inputs, [head], options)):
        if not isinstance(found, Prediction):
            raise found
        tokens += found.tokens
        vector = _written(found[head], asked.encoding_format)
        data.append({"object": "embedding", "index": index, "embedding": vector})
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": asked.model, "usage": usage}


def _written(result: Embedding, form: str) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(result.vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = result.vector.tolist()
    return numbers


def _refusal(problem: PolyheadError) -> Response:
    """An error in OpenAI's form."""
    refused(problem)
    told = problems.document(problem)
    # What cannot be answered has one status there.
    status = HTTPStatus.BAD_REQUEST if isinstance(problem, InputError) else told["status"]
    error = {
        "message": told["detail"],
        "type": "invalid_request_error" if status < 500 else "server_error",
        "param": None,
        "code": told["title"],
    }
    return JsonResponse({"error": error}, status, problems.headers_of(problem))
