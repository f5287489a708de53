"""What routes take and give, as schemas: all but what depends on the models."""

from __future__ import annotations

from polyhead.serving.http.openapi.heads import COUNT, Schema, record, reference

TEXT: Schema = {"type": "string"}
_STATUS: Schema = {"type": "integer", "minimum": 400, "maximum": 599}
_PROBLEM: dict[str, Schema] = {
    "type": {"type": "string", "description": "urn:polyhead:error: and the title."},
    "title": {"type": "string", "description": "The name of the error's class."},
    "status": _STATUS,
    "detail": {"type": "string", "description": "What was found, what is allowed, what to do."},
    "index": {"type": "integer", "minimum": 0, "description": "Of the text that is to blame."},
}
_PLACES: Schema = {
    "type": "array",
    "items": {
        "type": "array",
        "items": {"type": "integer", "minimum": 0},
        "minItems": 2,
        "maxItems": 2,
    },
}
_ENCODING: dict[str, Schema] = {
    "ids": {"type": "array", "items": {"type": "integer"}},
    "offsets": _PLACES | {"description": "Start and end of each token in the text."},
    "special": {"type": "array", "items": {"type": "boolean"}},
    "windows": _PLACES | {"description": "First token, and one past the last."},
    "truncated": {"type": "boolean"},
}
_PARAMETERS: Schema = {"type": "object"}
_DATATYPE: Schema = {"type": "string", "enum": ["BYTES", "FP32"]}
_SHAPE: Schema = {"type": "array", "items": {"type": "integer"}}

SHARED: dict[str, Schema] = {
    "Problem": record(_PROBLEM, ["index"], description="A problem document (RFC 9457)."),
    "TokenizeResponse": {
        "anyOf": [
            record({"model": TEXT, **_ENCODING}),
            record(
                {
                    "model": TEXT,
                    "texts": {
                        "type": "array",
                        "items": {
                            "anyOf": [record(_ENCODING), record({"error": reference("Problem")})]
                        },
                    },
                }
            ),
        ]
    },
    "Reloaded": record({"reloaded": {"type": "array", "items": TEXT}}),
    "EmbeddingsRequest": {
        "type": "object",
        "required": ["input", "model"],
        "properties": {
            "input": {"anyOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}]},
            "model": {"type": "string", "description": "As `GET /v1/models` lists them."},
            "dimensions": COUNT,
            "encoding_format": {"type": "string", "enum": ["float", "base64"], "default": "float"},
        },
    },
    "EmbeddingsResponse": record(
        {
            "object": {"const": "list"},
            "data": {
                "type": "array",
                "items": record(
                    {
                        "object": {"const": "embedding"},
                        "index": {"type": "integer", "minimum": 0},
                        "embedding": {
                            "anyOf": [{"type": "array", "items": {"type": "number"}}, TEXT],
                            "description": "Numbers, or the base64 of float32, least byte first.",
                        },
                    }
                ),
            },
            "model": TEXT,
            "usage": record({"prompt_tokens": COUNT, "total_tokens": COUNT}),
        }
    ),
    "Models": record(
        {
            "object": {"const": "list"},
            "data": {
                "type": "array",
                "items": record(
                    {
                        "id": TEXT,
                        "object": {"const": "model"},
                        "created": {"type": "integer"},
                        "owned_by": TEXT,
                    }
                ),
            },
        }
    ),
    "OpenAIError": record(
        {
            "error": record(
                {
                    "message": TEXT,
                    "type": {"enum": ["invalid_request_error", "server_error"]},
                    "param": {"type": "null"},
                    "code": {"type": "string", "description": "The name of the error's class."},
                }
            )
        }
    ),
    "InferRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": TEXT,
            "parameters": {
                "type": "object",
                "description": "`json`: true for results as `/v1/predict` gives them;"
                " `HEAD.OPTION`: an option of a head; `timeout`: in microseconds;"
                " `binary_data_output`.",
            },
            "inputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "shape", "datatype"],
                    "properties": {
                        "name": {"type": "string", "enum": ["text", "query"]},
                        "shape": _SHAPE,
                        "datatype": {"const": "BYTES"},
                        "parameters": _PARAMETERS,
                        "data": {"type": "array"},
                    },
                },
            },
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "description": "A head."},
                        "parameters": _PARAMETERS,
                    },
                },
            },
        },
    },
    "InferResponse": record(
        {
            "model_name": TEXT,
            "model_version": TEXT,
            "id": TEXT,
            "outputs": {
                "type": "array",
                "items": record(
                    {
                        "name": {"type": "string", "description": "The head."},
                        "shape": _SHAPE,
                        "datatype": _DATATYPE,
                        "parameters": _PARAMETERS,
                        "data": {"type": "array", "items": {"type": ["number", "string"]}},
                    },
                    ["parameters", "data"],
                ),
            },
        },
        ["id"],
    ),
    "ModelMetadata": record(
        {
            "name": TEXT,
            "versions": {"type": "array", "items": TEXT},
            "platform": TEXT,
            **{
                name: {
                    "type": "array",
                    "items": record(
                        {
                            "name": TEXT,
                            "datatype": _DATATYPE,
                            "shape": _SHAPE,
                            "parameters": _PARAMETERS,
                        },
                        ["parameters"],
                    ),
                }
                for name in ("inputs", "outputs")
            },
        }
    ),
    "ServerMetadata": record(
        {"name": TEXT, "version": TEXT, "extensions": {"type": "array", "items": TEXT}}
    ),
    "InferError": record({"error": TEXT, **_PROBLEM}, ["index"]),
    "Live": record({"live": {"type": "boolean"}}),
    "Ready": record({"ready": {"type": "boolean"}}),
    "ModelReady": record({"name": TEXT, "ready": {"type": "boolean"}}),
}
