"""What an ONNX graph of another library takes and gives, made what polyhead feeds and reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from polyhead.bundle.onnx_check import check_onnx
from polyhead.errors import GraphError, SourceError
from polyhead.inference.options import cpu_session_options
from polyhead.system.onnx_runtime import ort
from polyhead_models.importing.labels import NEVER

IDS, MASK, TYPES = KNOWN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_USUAL = ("model.onnx", "onnx/model.onnx")
_NUMBERS = {
    *(TensorProto.INT64, TensorProto.INT32, TensorProto.INT16, TensorProto.INT8, TensorProto.UINT8),
    *(TensorProto.BOOL, TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE),
}
_QUANTISED = {"DynamicQuantizeLinear", "QuantizeLinear", "MatMulInteger", "DequantizeLinear"}
_SHAPING = {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}


@dataclass(frozen=True, eq=False)
class ForeignGraph:
    """A graph of another library.

    Attributes:
        path: of the file.
        content: of the file, with conversions where an input is not int64 or an output not float32.
        original: SHA-256 of the file.
        inputs: names.
        outputs: sizes by name; what the caller chooses is a text or None.
        makers: kind of the operator that computes an output, by its name.
        precision: int8 when it has operators of quantisation.
    """

    path: Path
    content: bytes
    original: str
    inputs: tuple[str, ...]
    outputs: dict[str, tuple[Any, ...]]
    makers: dict[str, str]
    precision: Literal["fp32", "int8"]

    def states(self, output: str) -> Callable[[list[int]], NDArray[np.float32]]:
        """Computes the vectors of tokens, `(tokens, hidden)`, of the ids of a text."""
        session = _session(self.path, self.content)

        def run(ids: list[int]) -> NDArray[np.float32]:
            feeds = {IDS: [ids], MASK: [[1] * len(ids)], TYPES: [[0] * len(ids)]}
            arrays = {name: np.array(feeds[name], np.int64) for name in self.inputs}
            try:
                found: NDArray[np.float32] = session.run([output], arrays)[0][0]
            except Exception as problem:
                raise GraphError(f"{self.path}: onnxruntime cannot run it: {problem}") from problem
            return found

        return run


def graph_of(path: Path) -> Path | None:
    """The ONNX file of a folder, or of a path that is one; None where there is none.

    Raises:
        SourceError: when there are several and none is called model.onnx.
    """
    if path.is_file() and path.suffix == ".onnx":
        return path
    for name in _USUAL:
        if (path / name).is_file():
            return path / name
    found = sorted(path.glob("model*.onnx")) + sorted((path / "onnx").glob("model*.onnx"))
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in found)
        raise SourceError(f"{path}: several graphs: {names}. Name one of them as SOURCE.")
    return found[0] if found else None


def read(path: Path) -> ForeignGraph:
    """Look at a graph and refuse what cannot be served.

    Raises:
        GraphError: for weights in other files, foreign operators, or what onnxruntime cannot load.
        SourceError: for inputs that polyhead cannot feed, or sizes that are fixed.
    """
    original = path.read_bytes()
    check_onnx(original, str(path))
    model = onnx.load_model_from_string(original)
    operators = {node.op_type for node in model.graph.node}
    content = bytes(model.SerializeToString()) if _converted(model.graph) else original
    session = _session(path, content)
    inputs = session.get_inputs()
    if unknown := [node.name for node in inputs if node.name not in KNOWN_INPUTS]:
        raise SourceError(
            f"{path}: its inputs {', '.join(unknown)} are unknown; polyhead feeds"
            f" {', '.join(KNOWN_INPUTS)}. Export the model without them."
        )
    if IDS not in [node.name for node in inputs]:
        raise SourceError(f"{path}: it has no input {IDS}.")
    for node in inputs:
        if node.type != "tensor(int64)":
            raise SourceError(f"{path}: its input {node.name} is a {node.type}, expected numbers.")
        if len(node.shape) != 2 or any(isinstance(size, int) for size in node.shape):
            raise SourceError(
                f"{path}: its input {node.name} has the sizes {node.shape}; both batch and tokens"
                " must be dynamic. Export it again with dynamic axes."
            )
    return ForeignGraph(
        path,
        content,
        hashlib.sha256(original).hexdigest(),
        tuple(node.name for node in inputs),
        {node.name: tuple(node.shape) for node in session.get_outputs()},
        _makers(model.graph),
        "int8" if operators & _QUANTISED else "fp32",
    )


def _session(path: Path, content: bytes) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(
            content, cpu_session_options(), providers=["CPUExecutionProvider"]
        )
    except Exception as problem:  # onnxruntime raises its own classes, which have no base
        raise GraphError(f"{path}: onnxruntime cannot load this graph: {problem}") from problem


def _makers(graph: onnx.GraphProto) -> dict[str, str]:
    nodes = {name: node for node in graph.node for name in node.output}
    found = {}
    for output in graph.output:
        node = nodes.get(output.name)
        while node is not None and node.op_type in _SHAPING:
            node = nodes.get(node.input[0])
        found[output.name] = "" if node is None else node.op_type
    return found


def _converted(graph: onnx.GraphProto) -> bool:
    """Put a Cast before each known input of another type, and behind each output; says if any was.

    tf2onnx and optimisers write int32 inputs, half-precision graphs float16 outputs.
    """
    before: list[onnx.NodeProto] = []
    behind: list[onnx.NodeProto] = []
    renamed: dict[str, str] = {}
    inputs = [value for value in graph.input if value.name in KNOWN_INPUTS]
    for values, wanted in ((inputs, TensorProto.INT64), (graph.output, TensorProto.FLOAT)):
        for value in values:
            kind = value.type.tensor_type.elem_type
            if kind == wanted or kind not in _NUMBERS:
                continue
            inner = renamed[value.name] = f"polyhead/{value.name}/unconverted"
            value.type.tensor_type.elem_type = wanted
            if wanted == TensorProto.INT64:
                before.append(helper.make_node("Cast", [value.name], [inner], to=kind))
            else:
                behind.append(helper.make_node("Cast", [inner], [value.name], to=wanted))
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    nodes = [*before, *graph.node, *behind]
    del graph.node[:]
    graph.node.extend(nodes)
    return bool(renamed)


def unmasked(content: bytes) -> bytes:
    """Without an input for the mask, all tokens count: no text is filled up to another's length."""
    model = onnx.load_model_from_string(content)
    graph, sizes = model.graph, "polyhead/mask/sizes"
    one = numpy_helper.from_array(np.ones(1, np.int64))
    nodes = [
        helper.make_node("Shape", [IDS], [sizes]),
        helper.make_node("ConstantOfShape", [sizes], [MASK], value=one),
        *graph.node,
    ]
    inputs = [value for value in graph.input if value.name != MASK]
    for values, new in ((graph.node, nodes), (graph.input, inputs)):
        del values[:]
        values.extend(new)
    return bytes(model.SerializeToString())


class OutputAdapter:
    """Operators behind a graph's outputs that make them the logits of one head."""

    def __init__(self, graph: ForeignGraph, output: str) -> None:
        """Begin with no operator; `output` is the name that the logits get."""
        self._model = onnx.load_model_from_string(graph.content)
        self._output, self._count = output, 0

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """An operator; gives the name of its output."""
        self._count += 1
        name = f"polyhead/value_{self._count}"
        node = helper.make_node(kind, inputs, [name], f"polyhead/{name}", **attributes)
        self._model.graph.node.append(node)
        return name

    def constant(self, values: Any, kind: type[np.generic] = np.float32) -> str:
        """A weight; gives its name."""
        self._count += 1
        name = f"polyhead/constant_{self._count}"
        array = np.asarray(values, kind)
        self._model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def reshaped(self, value: str, *sizes: int) -> str:
        """Other sizes; 0 for that of before, -1 for what is left."""
        return self.add("Reshape", [value, self.constant(sizes, np.int64)])

    def model(self, value: str, *shape: int | str) -> bytes:
        """The whole model with one output, this value of these sizes."""
        self._model.graph.node.append(helper.make_node("Identity", [value], [self._output]))
        output = helper.make_tensor_value_info(self._output, TensorProto.FLOAT, shape)
        del self._model.graph.output[:]
        self._model.graph.output.append(output)
        return bytes(self._model.SerializeToString())


def same(graph: ForeignGraph, source: str, output: str, width: int) -> bytes:
    """The output `source` `(batch, width)` as it is."""
    return OutputAdapter(graph, output).model(source, "batch", width)


def arranged(graph: ForeignGraph, source: str, output: str, rows: Sequence[int | None]) -> bytes:
    """Tag logits `(batch, tokens, n)` in another order, `NEVER` where the model has none."""
    adapter = OutputAdapter(graph, output)
    chosen = adapter.constant([row or 0 for row in rows], np.int64)
    taken = adapter.add("Gather", [source, chosen], axis=2)
    if None in rows:
        factor = adapter.constant([0 if row is None else 1 for row in rows])
        offset = adapter.constant([NEVER if row is None else 0 for row in rows])
        taken = adapter.add("Add", [adapter.add("Mul", [taken, factor]), offset])
    return adapter.model(taken, "batch", "tokens", len(rows))


def spans(graph: ForeignGraph, start: str, stop: str, output: str) -> bytes:
    """Logits of start and end, `(batch, tokens)` each, side by side."""
    adapter = OutputAdapter(graph, output)
    both = [adapter.reshaped(name, 0, 0, 1) for name in (start, stop)]
    return adapter.model(adapter.add("Concat", both, axis=2), "batch", "tokens", 2)


def pooled(graph: ForeignGraph, states: str, output: str, pooling: str, width: int) -> bytes:
    """Token vectors `(batch, tokens, width)` as one vector a text; padding does not count."""
    adapter = OutputAdapter(graph, output)
    first = adapter.constant(0, np.int64)
    if pooling == "cls":
        return adapter.model(adapter.add("Gather", [states, first], axis=1), "batch", width)
    if MASK in graph.inputs:
        mask = adapter.add("Cast", [MASK], to=TensorProto.FLOAT)
    else:
        ids = adapter.add("Cast", [IDS], to=TensorProto.FLOAT)
        nothing = adapter.add("Mul", [ids, adapter.constant(0)])
        mask = adapter.add("Add", [nothing, adapter.constant(1)])
    column = adapter.reshaped(mask, 0, 0, 1)
    if pooling == "mean":
        row = adapter.reshaped(mask, 0, 1, -1)
        total, count = (adapter.add("MatMul", [row, value]) for value in (states, column))
        found = adapter.add("Div", [total, count])
    else:
        padding = adapter.add("Sub", [adapter.constant(1), column])
        seen = adapter.add("Sub", [states, adapter.add("Mul", [padding, adapter.constant(1e9)])])
        turned = adapter.add("Transpose", [seen], perm=[0, 2, 1])
        found = adapter.add("Transpose", [adapter.add("GlobalMaxPool", [turned])], perm=[0, 2, 1])
    return adapter.model(adapter.add("Gather", [found, first], axis=1), "batch", width)
