"""What an ONNX graph of another library takes and gives, and its outputs made those of a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polyhead.bundle import messages, wire
from polyhead.bundle.onnx_check import check_onnx
from polyhead.errors import GraphError, SourceError
from polyhead.system.onnx_runtime import ort

KNOWN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
NEVER = -1e4
"""Logit of a tag that the model does not have: its probability is 0, in half precision, too."""
_QUANTISED = {"DynamicQuantizeLinear", "QuantizeLinear", "MatMulInteger", "DequantizeLinear"}


@dataclass(frozen=True)
class Foreign:
    """A graph of another library.

    Attributes:
        path: of the file.
        content: of the file.
        inputs: names.
        outputs: sizes by name; what the caller chooses is a text or None.
        opset: of ONNX's own operators.
        precision: int8 when it has operators of quantisation.
    """

    path: Path
    content: bytes
    inputs: tuple[str, ...]
    outputs: dict[str, tuple[Any, ...]]
    opset: int
    precision: Literal["fp32", "int8"]


def read(path: Path) -> Foreign:
    """Look at a graph and refuse what cannot be served.

    Raises:
        GraphError: for weights in other files, foreign operators, or what onnxruntime cannot load.
        SourceError: for inputs that polyhead cannot feed, or sizes that are fixed.
    """
    content = path.read_bytes()
    check_onnx(content, str(path))
    opset, operators = _operators(content, str(path))
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # onnxruntime raises its own classes, which have no base
        raise GraphError(f"{path}: onnxruntime cannot load this graph: {problem}") from problem
    inputs = session.get_inputs()
    if unknown := [node.name for node in inputs if node.name not in KNOWN_INPUTS]:
        raise SourceError(
            f"{path}: its inputs {', '.join(unknown)} are unknown; polyhead feeds"
            f" {', '.join(KNOWN_INPUTS)}. Export the model without them."
        )
    if KNOWN_INPUTS[0] not in [node.name for node in inputs]:
        raise SourceError(f"{path}: it has no input {KNOWN_INPUTS[0]}.")
    for node in inputs:
        if node.type != "tensor(int64)":
            raise SourceError(f"{path}: its input {node.name} is a {node.type}, expected int64.")
        if len(node.shape) != 2 or any(isinstance(size, int) for size in node.shape):
            raise SourceError(
                f"{path}: its input {node.name} has the sizes {node.shape}; both batch and tokens"
                " must be dynamic. Export it again with dynamic axes."
            )
    return Foreign(
        path,
        content,
        tuple(node.name for node in inputs),
        {node.name: tuple(node.shape) for node in session.get_outputs()},
        opset,
        "int8" if operators & _QUANTISED else "fp32",
    )


def _operators(content: bytes, name: str) -> tuple[int, set[str]]:
    """Version of ONNX's own operators, and the names of those that are used."""
    model = memoryview(content)
    version = 1
    for opset in wire.children(model, wire.MODEL_OPSET, name):
        entry = {field: value for field, _, value in wire.fields(opset, name)}
        domain = entry.get(1, b"")
        if bytes(domain if isinstance(domain, memoryview) else b"") in (b"", b"ai.onnx"):
            found = entry.get(2, 1)
            version = found if isinstance(found, int) else version
    used = {
        bytes(kind).decode("utf-8", "replace")
        for graph in wire.children(model, wire.MODEL_GRAPH, name)
        for node in wire.children(graph, wire.GRAPH_NODE, name)
        for kind in wire.children(node, 4, name)
    }
    return version, used


class Ending:
    """Nodes behind a graph's outputs that make them the logits of one head."""

    def __init__(self, graph: Foreign, output: str) -> None:
        """Begin with no nodes; `output` is the name that the logits get."""
        self._graph, self._output = graph, output
        self._nodes: list[bytes] = []
        self._constants: dict[str, Any] = {}
        self._count = 0

    def add(self, kind: str, inputs: list[str], last: bool = False, **attributes: Any) -> str:
        """A node; gives the name of its output."""
        self._count += 1
        name = self._output if last else f"polyhead/value_{self._count}"
        self._nodes.append(messages.node(kind, inputs, name, **attributes))
        return name

    def constant(self, values: Any) -> str:
        """An initializer; gives its name."""
        name = f"polyhead/constant_{len(self._constants)}"
        self._constants[name] = values
        return name

    def on_axes(self, kind: str, value: str, axis: int, since: int = 13, **more: int) -> str:
        """An operator whose axes became an input with a version of the operators."""
        attributes: dict[str, Any] = dict(more)
        inputs = [value]
        if self._graph.opset >= since:
            inputs.append(self.constant(np.array([axis], np.int64)))
        else:
            attributes["axes"] = [axis]
        return self.add(kind, inputs, **attributes)

    def model(self, shape: tuple[int | str, ...]) -> bytes:
        """The whole model with the one output."""
        output = messages.tensor_value(self._output, wire.FLOAT, shape)
        return messages.with_outputs(
            self._graph.content, self._nodes, self._constants, [output], str(self._graph.path)
        )


def same(graph: Foreign, source: str, output: str, width: int) -> bytes:
    """The output `source` `(batch, width)` as it is."""
    end = Ending(graph, output)
    end.add("Identity", [source], last=True)
    return end.model(("batch", width))


def arranged(graph: Foreign, source: str, output: str, rows: Sequence[int | None]) -> bytes:
    """Tag logits `(batch, tokens, n)` in another order, `NEVER` where the model has none."""
    chosen = np.array([row or 0 for row in rows], np.int64)
    offset = np.array([NEVER if row is None else 0 for row in rows], np.float32)
    factor = np.array([0 if row is None else 1 for row in rows], np.float32)
    end = Ending(graph, output)
    taken = end.add("Gather", [source, end.constant(chosen)], axis=2)
    if None in rows:
        taken = end.add("Mul", [taken, end.constant(factor)])
        taken = end.add("Add", [taken, end.constant(offset)])
    end.add("Identity", [taken], last=True)
    return end.model(("batch", "tokens", len(rows)))


def spans(graph: Foreign, start: str, stop: str, output: str) -> bytes:
    """Logits of start and end, `(batch, tokens)` each, side by side."""
    end = Ending(graph, output)
    both = [end.on_axes("Unsqueeze", name, 2) for name in (start, stop)]
    end.add("Concat", both, last=True, axis=2)
    return end.model(("batch", "tokens", 2))


def pooled(graph: Foreign, states: str, output: str, pooling: str, width: int) -> bytes:
    """Token vectors `(batch, tokens, width)` as one vector a text; padding does not count."""
    end = Ending(graph, output)
    if pooling == "cls":
        first = end.constant(np.array(0, np.int64))
        end.add("Gather", [states, first], last=True, axis=1)
        return end.model(("batch", width))
    if KNOWN_INPUTS[1] in graph.inputs:
        mask = end.add("Cast", [KNOWN_INPUTS[1]], to=1)
    else:
        ids = end.add("Cast", [KNOWN_INPUTS[0]], to=1)
        nothing = end.add("Mul", [ids, end.constant(np.array(0, np.float32))])
        mask = end.add("Add", [nothing, end.constant(np.array(1, np.float32))])
    column = end.on_axes("Unsqueeze", mask, 2)
    if pooling == "mean":
        counted = end.add("Mul", [states, column])
        total = end.on_axes("ReduceSum", counted, 1, keepdims=0)
        end.add("Div", [total, end.on_axes("ReduceSum", column, 1, keepdims=0)], last=True)
    else:
        one = end.constant(np.array(1, np.float32))
        low = end.constant(np.array(1e9, np.float32))
        beside = end.add("Mul", [end.add("Sub", [one, column]), low])
        seen = end.add("Sub", [states, beside])
        highest = end.on_axes("ReduceMax", seen, 1, since=18, keepdims=0)
        end.add("Identity", [highest], last=True)
    return end.model(("batch", width))
