"""The document: all routes, with the heads of the models that are served.

Labels are enums, and each kind of head has an answer of its own type: all of it is made from the
manifests, so that a reload shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polyhead.errors import PluginError, UnknownKind
from polyhead.heads import DECODERS, HeadSpec
from polyhead.serving.http.openapi import heads as schemas
from polyhead.serving.http.openapi.bodies import SHARED
from polyhead.serving.http.openapi.heads import Schema, record, reference
from polyhead.serving.http.openapi.paths import RESPONSES, TAGS, paths
from polyhead.serving.http.service import ServedModel, Service
from polyhead.serving.http.settings import ServiceSettings
from polyhead.system.info import __version__

_OWN = ("PredictRequest", "PredictResponse", "TokenizeRequest", "StreamRequest")


def document(service: Service) -> dict[str, Any]:
    """The description of a service that is ready, in OpenAPI 3.1.

    Beside what OpenAPI knows, ``x-polyhead-models`` lists the models with their heads, and of each
    head the kind, input, labels, thresholds, options, and whether its scores are calibrated.
    """
    models = list(service.models.values())
    components: dict[str, Schema] = {}
    requests, texts, answers, streams = [], [], [], []
    for model in models:
        parts = _Components(model, components, alone=len(models) == 1)
        named = model is not models[0]
        requests.append(parts.request(service.settings, named=named))
        texts.append(parts.tokenizing(service.settings, named=named))
        answers += parts.answers()
        streams += parts.streaming(service.settings, named=named)
    shared = {
        "PredictRequest": _any_of(requests),
        "PredictResponse": _any_of(answers),
        "TokenizeRequest": _any_of(texts),
        **({"StreamRequest": _any_of(streams)} if streams else {}),
        **SHARED,
    }
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "polyhead",
            "version": __version__,
            "description": "One encoder pass, many answers: " + _names(models) + ".",
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths([m.name for m in models], service.settings, streams=bool(streams)),
        "components": {"schemas": shared | components, "responses": RESPONSES},
        "x-polyhead-models": [
            {"name": model.name, "heads": dict(_described(model.engine.heads))} for model in models
        ],
    }
    if service.settings.api_keys:
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
    return found


def _names(models: list[ServedModel]) -> str:
    return "; ".join(f"{model.name} ({', '.join(model.engine.heads)})" for model in models)


def _described(heads: Mapping[str, HeadSpec]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, spec in heads.items():
        yield (
            name,
            {
                "kind": spec.kind,
                "input": spec.input,
                "labels": list(spec.labels),
                "thresholds": None if spec.thresholds is None else list(spec.thresholds),
                "calibrated": spec.temperature is not None,
                "options": schemas.options(spec, _options(spec))["properties"],
            },
        )


def _options(spec: HeadSpec) -> tuple[str, ...]:
    """The options of a head's kind; none of one whose plugin has gone since it was loaded."""
    try:
        return tuple(getattr(DECODERS[spec.kind], "options", ()))
    except (UnknownKind, PluginError):
        return ()


def _deadline(settings: ServiceSettings) -> Schema:
    waits = f"Milliseconds that the caller waits, at most {settings.deadline_ms:g}."
    return {"type": "number", "exclusiveMinimum": 0, "description": waits}


def _any_of(found: list[Schema]) -> Schema:
    return found[0] if len(found) == 1 else {"anyOf": found}


class _Components:
    """The schemas of one model, by names of which no two are the same."""

    def __init__(self, model: ServedModel, into: dict[str, Schema], *, alone: bool) -> None:
        self._model, self._into = model, into
        self._prefix = "" if alone else f"{model.name}."
        self._name = {"type": "string", "const": model.name, "description": "The model."}
        self._heads = model.engine.heads

    def _add(self, name: str, schema: Schema) -> Schema:
        """A reference to a schema that is added."""
        taken = schemas.component(self._prefix + name, [*self._into, *_OWN, *SHARED])
        self._into[taken] = schema
        return reference(taken)

    def request(self, settings: ServiceSettings, *, named: bool) -> Schema:
        """What may be asked of the model; of the first its name can be left out."""
        options = {
            name: schemas.options(spec, taken)
            for name, spec in self._heads.items()
            if (taken := _options(spec))
        }
        properties: dict[str, Schema] = {
            **self._texts(settings),
            "heads": {
                "type": "array",
                "items": {"type": "string", "enum": list(self._heads)},
                "description": "Those that are wanted; where it is left out, all that read such a"
                " text.",
            },
            "options": record(options, options),
            "deadline_ms": _deadline(settings),
        }
        return self._add("Request", self._of_texts(properties, named=named))

    def tokenizing(self, settings: ServiceSettings, *, named: bool) -> Schema:
        """Which texts may be tokenised."""
        properties = self._texts(settings)
        return self._add("Texts", self._of_texts(properties, named=named))

    def streaming(self, settings: ServiceSettings, *, named: bool) -> list[Schema]:
        """What may be asked of each head that writes, piece by piece."""
        found = []
        writing = {n: spec for n, spec in self._heads.items() if spec.generation is not None}
        for name, spec in writing.items():
            taken = [option for option in _options(spec) if option != "beams"]
            texts = self._texts(settings)
            properties = {key: texts[key] for key in ("text", "query", "model", "offsets")}
            properties["head"] = {"type": "string", "const": name}
            properties["options"] = schemas.options(spec, taken)
            properties["deadline_ms"] = _deadline(settings)
            required = {"text", *(("model",) if named else ())}
            required |= {"head"} if len(writing) > 1 else set()
            schema = record(properties, properties.keys() - required)
            found.append(self._add(f"Stream.{name}", schema))
        return found

    def _texts(self, settings: ServiceSettings) -> dict[str, Schema]:
        """The part of a body that says which texts are meant."""
        text: Schema = {"type": "string", "maxLength": settings.max_characters}
        pair = {"type": "array", "items": text, "minItems": 2, "maxItems": 2}
        kinds = {"text": text, "pair": pair | {"description": "[query, text]"}}
        read = [kinds[kind] for kind in kinds if kind in {s.input for s in self._heads.values()}]
        texts = {"type": "array", "items": _any_of(read), "maxItems": settings.max_texts}
        return {
            "text": text | {"description": "A text; of a pair the second one."},
            "query": text | {"description": "The first text of a pair, such as a question."},
            "texts": texts | {"description": "In place of `text`: many, in one call."},
            "model": self._name,
            "offsets": {
                "type": "string",
                "enum": ["codepoints", "utf16"],
                "default": "codepoints",
                "description": "How `start` and `end` count; JavaScript counts in UTF-16.",
            },
        }

    @staticmethod
    def _of_texts(properties: Mapping[str, Schema], *, named: bool) -> Schema:
        required = {"model"} if named else set()
        either = [{"required": ["text"]}, {"required": ["texts"], "not": {"required": ["query"]}}]
        return record(properties, properties.keys() - required) | {"oneOf": either}

    def answers(self) -> list[Schema]:
        """What the model answers: to one text, and to many."""
        heads = {}
        for name, spec in self._heads.items():
            schema = schemas.result(spec) | {"title": f"{name}: {spec.kind}"}
            heads[name] = self._add(name, schema)
        properties: dict[str, Schema] = {
            "tokens": schemas.COUNT | {"description": "Tokens that the encoder read."},
            "windows": schemas.COUNT | {"description": "Windows that it was read in."},
            "truncated": {
                "type": "boolean",
                "description": "Whether its end was left out.",
            },
            "heads": record(heads, heads),
            "answered_by": {
                "type": "object",
                "additionalProperties": {"enum": ["student", "teacher"]},
                "description": "Of a cascade: by head, which model.",
            },
        }
        one = self._add("Prediction", record(properties, ["answered_by"]))
        failed = self._add("FailedPrediction", record({"error": reference("Problem")}))
        many = {"type": "array", "items": {"anyOf": [one, failed]}}
        return [
            self._add("Answer", record({"model": self._name, **properties}, ["answered_by"])),
            self._add("Answers", record({"model": self._name, "predictions": many})),
        ]
