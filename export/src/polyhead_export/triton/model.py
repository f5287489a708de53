"""A bundle in a Triton server: what its Python backend runs, copied next to the bundle.

Needs `pip install polyhead` in the Python of the backend.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import polyhead

_NUMBERS = {"TYPE_FP32": np.float32, "TYPE_INT32": np.int32}


class TritonPythonModel:
    """Answers all requests that Triton hands over at once in one call."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the bundle of this version of the model."""
        self._triton: Any = import_module("triton_python_backend_utils")
        config = json.loads(args["model_config"])
        self._inputs = [each["name"] for each in config["input"]]
        self._outputs = {each["name"]: each["data_type"] for each in config["output"]}
        self._engine = polyhead.load(Path(__file__).with_name("bundle"))
        self._engine.warmup()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """A response for each request; one with an input that cannot be answered is an error."""
        given = [self._texts(request) for request in requests]
        texts = [text for some in given for text in some]
        answers = iter(self._engine.predict(texts, errors="return"))
        return [self._response([next(answers) for _ in some]) for some in given]

    def finalize(self) -> None:
        """Free what the model holds."""
        self._engine.close()

    def _texts(self, request: Any) -> list[Any]:
        columns = []
        for name in self._inputs:
            values = self._triton.get_input_tensor_by_name(request, name).as_numpy().reshape(-1)
            # What is no UTF-8 is an error of its own request later.
            columns.append([value.decode("utf-8", "surrogateescape") for value in values])
        return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))

    def _response(self, answers: Sequence[Any]) -> Any:
        rows = []
        for answer in answers:
            if not isinstance(answer, polyhead.Prediction):
                error = self._triton.TritonError(f"{type(answer).__name__}: {answer}")
                return self._triton.InferenceResponse(output_tensors=[], error=error)
            rows.append(answer.to_row())
        return self._triton.InferenceResponse(
            output_tensors=[
                self._triton.Tensor(name, _column([row[name] for row in rows], kind))
                for name, kind in self._outputs.items()
            ]
        )


def _column(values: Sequence[Any], kind: str) -> np.ndarray[Any, Any]:
    """`(rows, 1)`, or `(rows, numbers)` of vectors; lists of other things are JSON."""
    if kind in _NUMBERS:
        return np.asarray(values, _NUMBERS[kind]).reshape(len(values), -1)
    said = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return np.array([[text.encode("utf-8")] for text in said], dtype=object).reshape(-1, 1)
