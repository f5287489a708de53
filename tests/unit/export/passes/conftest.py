"""Small graphs from ONNX text, run by onnxruntime."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from polyhead.inference.options import cpu_session_options

HEADER = '<ir_version: 10, opset_import: ["" : 23]>\n'


@pytest.fixture(scope="session")
def parse() -> Callable[..., ir.Model]:
    """`parse(text, name=array, …)`: a graph with weights, inferred shapes and named nodes."""

    def make(text: str, **weights: NDArray[Any]) -> ir.Model:
        proto = onnx.parser.parse_model(HEADER + text)
        proto.graph.initializer.extend(
            numpy_helper.from_array(array, name) for name, array in weights.items()
        )
        for index, node in enumerate(proto.graph.node):
            node.name = f"{node.op_type}_{index}"
        return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True))

    return make


@pytest.fixture(scope="session")
def ops() -> Callable[[ir.Model], str]:
    """The operators in the order of the graph, as one line."""
    return lambda model: " ".join(node.op_type for node in model.graph)


@pytest.fixture(scope="session")
def show() -> Callable[[ir.Model], list[str]]:
    """The graph as lines such as ``y = Cast<to=1>(x)``; values without a name are %0, %1 …"""

    def lines(model: ir.Model) -> list[str]:
        numbers: dict[str, str] = {}

        def name(value: ir.Value | None) -> str:
            text = "" if value is None else str(value.name)
            if re.fullmatch(r"val_\d+", text):  # onnx-ir's own
                return numbers.setdefault(text, f"%{len(numbers)}")
            return text

        def line(node: ir.Node) -> str:
            inputs = ", ".join(map(name, node.inputs))
            outputs = ", ".join(map(name, node.outputs))
            given = ", ".join(f"{key}={setting(a)}" for key, a in sorted(node.attributes.items()))
            operator = f"{node.domain}.{node.op_type}".lstrip(".")
            return f"{outputs} = {operator}{f'<{given}>' if given else ''}({inputs})"

        def setting(attribute: ir.Attr) -> str:
            if attribute.type != ir.AttributeType.TENSOR:
                return str(attribute.value)
            tensor = attribute.as_tensor()
            return f"{tensor.dtype}{tensor.shape}"

        return [line(node) for node in model.graph]

    return lines


@pytest.fixture(scope="session")
def run() -> Callable[..., NDArray[Any]]:
    """`run(model, input=array, …)`: the first output, as onnxruntime computes node by node."""

    def compute(model: ir.Model, **feeds: NDArray[Any]) -> NDArray[Any]:
        content = ir.to_proto(model).SerializeToString()
        options = cpu_session_options()
        # onnxruntime has passes of its own, which would hide what ours do.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        result: NDArray[Any] = session.run(None, feeds)[0]
        return result

    return compute


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)
