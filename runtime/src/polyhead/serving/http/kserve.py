"""The Open Inference Protocol (KServe v2) over REST: texts in, one tensor a head out.

Its errors are problem documents with an ``error``, where clients of the protocol look.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from polyhead.bundle.head_spec import check_name
from polyhead.errors import InvalidSetting, PolyheadError
from polyhead.heads import Classification, Embedding, HeadSpec, MultiLabel, Regression
from polyhead.heads.base import Result
from polyhead.prediction import Prediction
from polyhead.serving.http import problems
from polyhead.serving.http.bodies import JsonResponse, length_of, parsed, read
from polyhead.serving.http.leaving import unless_gone
from polyhead.serving.http.metrics import refused
from polyhead.serving.http.problems import MalformedRequest, UnknownModel
from polyhead.serving.http.service import ServedModel, Service
from polyhead.serving.http.tensors import InferRequest, milliseconds, output, texts, whether
from polyhead.system.info import __version__

PUBLIC = ("/v2/health/live", "/v2/health/ready")

PLATFORM = "onnx_onnxv1"
VERSION = "1"
"""Of every model: a reload replaces it."""

_LENGTH = "Inference-Header-Content-Length"
_NUMBERS = ("classification.v1", "multilabel.v1", "regression.v1", "embedding.v1")
_ROWS = (Classification, MultiLabel, Regression, Embedding)
_encoder = msgspec.json.Encoder()

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(service: Service) -> list[Route]:
    """The routes of the protocol."""

    async def live(_: Request) -> Response:
        return JsonResponse({"live": True})

    async def ready(_: Request) -> Response:
        return JsonResponse({"ready": service.ready}, 200 if service.ready else 503)

    async def server(_: Request) -> Response:
        told = {"name": "polyhead", "version": __version__}
        return JsonResponse({**told, "extensions": ["binary_tensor_data"]})

    async def metadata(request: Request) -> Response:
        return JsonResponse(_metadata(_model(service, request)))

    async def model_ready(request: Request) -> Response:
        model = _model(service, request)
        return JsonResponse({"name": model.name, "ready": True})

    async def infer(request: Request) -> Response:
        return await _infer(service, request)

    model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    return [
        Route("/v2", server),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        *(
            route
            for path in (model, version)
            for route in (
                Route(path, _in_form(metadata)),
                Route(f"{path}/ready", _in_form(model_ready)),
                Route(f"{path}/infer", _in_form(infer), methods=["POST"]),
            )
        ),
    ]


def _in_form(endpoint: Endpoint) -> Endpoint:
    """The endpoint with its errors as clients of the protocol read them."""

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except PolyheadError as problem:
            refused(problem)
            told = problems.document(problem)
            content = {"error": told["detail"], **told}
            return JsonResponse(content, told["status"], problems.headers_of(problem))

    return answer


def _model(service: Service, request: Request) -> ServedModel:
    model = service.model(request.path_params["model"])
    version = request.path_params.get("version", VERSION)
    if version != VERSION:
        raise UnknownModel(f"version: found {version!r}, of {model.name!r} there is {VERSION!r}.")
    return model


def _metadata(model: ServedModel) -> dict[str, Any]:
    heads = model.engine.heads
    kinds = {spec.input for spec in heads.values()}
    names = ("query", "text") if "pair" in kinds else ("text",)
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in names],
        "outputs": [{"name": name, **_tensor(spec)} for name, spec in heads.items()],
    }


def _tensor(spec: HeadSpec) -> dict[str, Any]:
    """What is said of a head's tensor; its labels are those of the columns, or of the spans."""
    told: dict[str, Any] = {"datatype": "BYTES", "shape": [-1]}
    if spec.kind in _NUMBERS:
        columns = {"regression.v1": 1, "embedding.v1": -1}.get(spec.kind, len(spec.labels))
        told = {"datatype": "FP32", "shape": [-1, columns]}
    return {**told, "parameters": {"kind": spec.kind, "labels": list(spec.labels)}}


async def _infer(service: Service, request: Request) -> Response:
    model = _model(service, request)
    service.check_hope(length_of(request))
    asked, behind = await _request(request, service.settings.max_body)
    heads, given = model.engine.heads, asked.parameters
    wanted = {each.name: _Form.of(each.parameters, given) for each in asked.outputs}
    otherwise = _Form.of({}, given)
    options = _options(given, heads)
    for name in wanted:
        check_name(name, heads)
    for name, settings in options.items():
        if "top" in settings and not wanted.get(name, otherwise).json:
            raise InvalidSetting(
                f"{name}.top: leaves out columns. Give none, or ask for the result as JSON with the"
                ' parameter "json": true.'
            )
    inputs = _inputs(texts(asked.inputs, behind))
    answers = await unless_gone(
        request,
        service.answer(model.name, inputs, list(wanted) or None, options, milliseconds(given)),
    )
    found: list[Prediction] = []
    for answer in answers:
        if not isinstance(answer, Prediction):
            raise answer
        found.append(answer)
    outputs, blocks = [], []
    for name in wanted or (found[0].results if found else ()):
        form = wanted.get(name, otherwise)
        values = _values(heads.get(name), [each.results[name] for each in found], form)
        told, block = output(name, values, binary=form.binary)
        outputs.append(told)
        blocks.append(block)
    content = {"model_name": model.name, "model_version": VERSION, "outputs": outputs}
    return _answer(content if asked.id is None else {**content, "id": asked.id}, b"".join(blocks))


@dataclass(frozen=True)
class _Form:
    """How a tensor is given.

    Attributes:
        json: whether as the result that ``/v1/predict`` gives, whatever the head's kind.
        binary: whether its data are behind the JSON.
    """

    json: bool
    binary: bool

    @classmethod
    def of(cls, own: Mapping[str, Any], given: Mapping[str, Any]) -> _Form:
        """From the parameters of an output, and those of its request where it has none."""
        return cls(
            whether(own, "json", whether(given, "json")),
            whether(own, "binary_data", whether(given, "binary_data_output")),
        )


async def _request(request: Request, most: int) -> tuple[InferRequest, bytes]:
    """What a request says, and the bytes behind."""
    body = await read(request, most)
    length = request.headers.get(_LENGTH, str(len(body)))
    if not length.isdecimal() or len(length) > 19 or int(length) > len(body):
        raise MalformedRequest(f"{_LENGTH}: found {length[:20]}, the body has {len(body):,} bytes.")
    found = parsed(body[: int(length)], InferRequest)
    if found.id is not None and not found.id.isprintable():
        raise MalformedRequest(f"id: found {found.id[:100]!r}, expected printable characters.")
    return found, body[int(length) :]


def _inputs(given: Mapping[str, Sequence[Any]]) -> list[Any]:
    """The inputs, by row."""
    if unknown := [name for name in given if name not in ("query", "text")]:
        raise MalformedRequest(f"inputs: found {unknown[0]!r}, allowed: text, and query for pairs.")
    if "text" not in given:
        raise MalformedRequest("inputs: 'text' is not there.")
    if "query" not in given:
        return list(given["text"])
    if len(given["query"]) != len(given["text"]):
        raise MalformedRequest(
            f"inputs: {len(given['query']):,} in 'query', {len(given['text']):,} in 'text',"
            " expected as many."
        )
    return list(zip(given["query"], given["text"], strict=True))


def _options(given: Mapping[str, Any], heads: Mapping[str, HeadSpec]) -> dict[str, dict[str, Any]]:
    """Settings of single heads, from parameters called ``HEAD.OPTION``; others are not ours."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        head, _, option = name.rpartition(".")
        if head in heads:
            found.setdefault(head, {})[option] = value
    return found


def _values(
    spec: HeadSpec | None, results: Sequence[Result], form: _Form
) -> NDArray[np.float32] | list[bytes]:
    """A row a text: numbers, or the result as ``/v1/predict`` gives it."""
    numbers = all(isinstance(result, _ROWS) for result in results)
    if form.json or not numbers or (not results and spec and spec.kind not in _NUMBERS):
        return [_encoder.encode(result.to_dict()) for result in results]
    rows = np.array([_row(result) for result in results], np.float32)
    return rows.reshape(len(results), -1 if results else 0)


def _row(result: Any) -> Any:
    if isinstance(result, Embedding):
        return result.vector
    return [result.value] if isinstance(result, Regression) else list(result.scores.values())


def _answer(content: dict[str, Any], behind: bytes) -> Response:
    if not behind:
        return JsonResponse(content)
    told = _encoder.encode(content)
    return Response(
        told + behind, headers={_LENGTH: str(len(told))}, media_type="application/octet-stream"
    )
