"""``POST /v1/predict``: one text or many, single or in pairs, by the heads that are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from polyhead.errors import PolyheadError
from polyhead.prediction import Prediction
from polyhead.serving.http.bodies import JsonResponse, decoded, length_of
from polyhead.serving.http.leaving import unless_gone
from polyhead.serving.http.service import Service
from polyhead.serving.http.texts import TextsRequest, in_places


class PredictRequest(TextsRequest):
    """The body.

    Attributes:
        heads: names of the wanted heads; None for all that read such texts.
        options: settings of single heads, by head.
        deadline_ms: milliseconds that the caller waits; None for those of the server.
    """

    heads: list[str] | None = None
    options: dict[str, dict[str, Any]] | None = None
    deadline_ms: float | None = None


def routes(service: Service) -> list[Route]:
    """The route of this module."""

    async def predict(request: Request) -> Response:
        service.check_hope(length_of(request))
        asked = await decoded(request, PredictRequest, service.settings.max_body)
        name = service.model(asked.model).name
        answers = await unless_gone(
            request,
            service.answer(name, asked.inputs(), asked.heads, asked.options, asked.deadline_ms),
        )
        utf16 = asked.offsets == "utf16"
        if asked.texts is None:
            (found,) = answers
            if isinstance(found, PolyheadError):
                raise found
            return JsonResponse({"model": name, **plain(found, utf16=utf16)})
        refuse_if_all_failed(answers)
        found_by_text = in_places(answers, lambda found: plain(found, utf16=utf16))
        return JsonResponse({"model": name, "predictions": found_by_text})

    return [Route("/v1/predict", predict, methods=["POST"])]


def refuse_if_all_failed(answers: Sequence[Prediction | PolyheadError]) -> None:
    """Raise what happened to all texts of a request when no single one is to blame for it.

    So a balancer sees the server's own trouble, and a caller what is wrong with heads or options.
    """
    if answers and not any(isinstance(found, Prediction) for found in answers):
        first = answers[0]
        if isinstance(first, Exception) and getattr(first, "index", None) is None:
            raise first


def plain(found: Prediction, *, utf16: bool) -> dict[str, Any]:
    """A prediction as an answer has it, without the texts, which the caller knows."""
    answer = (found.utf16() if utf16 else found).to_dict()
    del answer["text"]
    answer.pop("query", None)
    return answer
