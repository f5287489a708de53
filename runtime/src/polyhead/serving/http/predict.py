"""``POST /v1/predict``: one text or many, single or in pairs, by the heads that are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from polyhead.errors import PolyheadError
from polyhead.prediction import Prediction
from polyhead.serving.http import problems
from polyhead.serving.http.bodies import JsonResponse, decoded
from polyhead.serving.http.leaving import unless_gone
from polyhead.serving.http.problems import MalformedRequest
from polyhead.serving.http.service import Service

Offsets = Literal["codepoints", "utf16"]


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body: either ``text``, of a pair with its ``query``, or ``texts``.

    Attributes:
        text: a text; of a pair the second one.
        query: the first text of a pair, such as a question.
        texts: texts, and pairs as lists of two. Whatever else is among them gets an error in its
            place.
        model: a served name; None for the first.
        heads: names of the wanted heads; None for all that read such texts.
        options: settings of single heads, by head.
        offsets: how ``start`` and ``end`` count.
        deadline_ms: milliseconds that the caller waits; None for those of the server.
    """

    text: str | None = None
    query: str | None = None
    texts: list[Any] | None = None
    model: str | None = None
    heads: list[str] | None = None
    options: dict[str, dict[str, Any]] | None = None
    offsets: Offsets = "codepoints"
    deadline_ms: float | None = None


def routes(service: Service) -> list[Route]:
    """The route of this module."""

    async def predict(request: Request) -> Response:
        asked = await decoded(request, PredictRequest, service.settings.max_body)
        name = service.model(asked.model).name
        answers = await unless_gone(
            request,
            service.answer(name, inputs_of(asked), asked.heads, asked.options, asked.deadline_ms),
        )
        utf16 = asked.offsets == "utf16"
        if asked.texts is None:
            (found,) = answers
            if isinstance(found, PolyheadError):
                raise found
            return JsonResponse({"model": name, **plain(found, utf16=utf16)})
        refuse_if_all_failed(answers)
        predictions = [
            {"error": problems.document(found, index=index)}
            if isinstance(found, PolyheadError)
            else plain(found, utf16=utf16)
            for index, found in enumerate(answers)
        ]
        return JsonResponse({"model": name, "predictions": predictions})

    return [Route("/v1/predict", predict, methods=["POST"])]


def inputs_of(asked: PredictRequest) -> list[Any]:
    """What a body asks about.

    Raises:
        MalformedRequest: unless it has exactly one of ``text`` and ``texts``.
    """
    if (asked.text is None) == (asked.texts is None):
        found = "neither" if asked.text is None else "both"
        raise MalformedRequest(
            f"body: found {found} of 'text' and 'texts', expected one of them: a text, with the"
            " 'query' of a pair where there is one, or a list of texts and of pairs [query, text]."
        )
    if asked.texts is not None:
        if asked.query is not None:
            raise MalformedRequest(
                "body: 'query' belongs to one 'text'. Among 'texts' a pair is a list [query, text]."
            )
        return asked.texts
    return [asked.text if asked.query is None else (asked.query, asked.text)]


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
