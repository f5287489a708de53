"""The encoder in fp16, with what fp16 cannot hold in fp32.

before: MatMul(x, W) -> Softmax
after:  MatMul(x16, W16) -> Cast -> Softmax

fp16 ends at 65,504. So heads, softmaxes and sums stay in fp32, as do nodes with a weight or a mask
constant outside that range, and nodes that the caller names because their values were seen outside
it. Attention computes its softmax in fp32 (`softmax_precision`), LayerNormalization its mean and
variance (`stash_type`, 1 by default).

Why not `onnxruntime.transformers.float16.convert_float_to_float16` (onnxruntime 1.32): it puts a
Cast to fp16 behind every node that is kept in fp32, also where the next node is kept too. So a
value beyond 65,504 between two of them becomes infinite, and all logits pass through fp16. It clips
larger constants to 65,504 without a word, does not set `softmax_precision`, and appends its Casts
at the end of the graph, which `onnx.checker` refuses as not sorted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common
from numpy.typing import NDArray

from polyhead_export.subgraph import session_of

LARGEST = 65504.0
LIMIT = LARGEST / 8
"""Texts that were not measured may reach further than those that were."""

_ENCODER = ("encoder.", "positions/")
_PRODUCTS = {"Attention", "Gemm", "MatMul", "RotaryEmbedding"}
_ARITHMETIC = {"Add", "Div", "Gelu", "LayerNormalization", "Mul", "Neg", "Sub"}
_MOVES = {"Concat", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
_HALF = _PRODUCTS | _ARITHMETIC | _MOVES
_FLOAT, _FLOAT16 = ir.DataType.FLOAT, ir.DataType.FLOAT16


class HalfPrecision(ir.passes.InPlacePass):
    """Requires a float graph whose nodes are named after their modules. Outputs stay fp32."""

    def __init__(self, keep: Collection[str] = ()) -> None:
        """Leave the nodes named `keep` in fp32."""
        self._keep = frozenset(keep)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Turn what may be fp16 into fp16, with a Cast where it meets fp32."""
        common.ShapeInferencePass()(model)  # other passes may leave types open
        graph = model.graph
        half = [node for node in graph if self._may_be_half(node)]
        chosen = set(half)
        weights: dict[ir.Value, ir.Value] = {}
        casts: dict[ir.Value, ir.Value] = {}
        for node in half:
            if node.op_type == "Attention":
                node.attributes["softmax_precision"] = ir.AttrInt64("softmax_precision", _FLOAT)
            for index, value in enumerate(node.inputs):
                if value is None or value.dtype != _FLOAT:
                    continue
                if value.is_initializer():
                    node.replace_input_with(index, _half_weight(graph, value, weights))
                elif value.producer() not in chosen:
                    node.replace_input_with(index, _cast(graph, value, _FLOAT16, casts))
        for node in half:
            for value in node.outputs:
                if value.dtype == _FLOAT:
                    _to_half(graph, value, chosen, casts)
        return ir.passes.PassResult(model, bool(half))

    def ensures(self, model: ir.Model) -> None:
        """Outputs are fp32, and no node mixes the two."""
        if wrong := [v.name for v in model.graph.outputs if v.dtype != _FLOAT]:
            raise ir.passes.PostconditionError(f"outputs that are not fp32: {wrong}")
        for node in model.graph:
            kinds = {v.dtype for v in node.inputs if v is not None} & {_FLOAT, _FLOAT16}
            if len(kinds) > 1:
                raise ir.passes.PostconditionError(f"mixes fp16 and fp32: {node.name}")

    def _may_be_half(self, node: ir.Node) -> bool:
        name = node.name or ""
        if node.op_type not in _HALF or not name.startswith(_ENCODER) or name in self._keep:
            return False
        values = [v for v in (*node.inputs, *node.outputs) if v is not None and v.dtype == _FLOAT]
        outputs = [v for v in node.outputs if v.dtype == _FLOAT]
        return bool(outputs) and all(
            _fits(value) and not value.is_graph_output() for value in values
        )


def _fits(value: ir.Value) -> bool:
    """Whether a constant is inside the range of fp16; what is computed is taken to be."""
    if value.const_value is None:
        return True
    array = value.const_value.numpy()
    return array.size == 0 or bool(np.isfinite(array).all() and np.abs(array).max() <= LARGEST)


def _half_weight(graph: ir.Graph, value: ir.Value, known: dict[ir.Value, ir.Value]) -> ir.Value:
    if value not in known:
        assert value.const_value is not None
        array = value.const_value.numpy().astype(np.float16)
        half = ir.Value(name=f"{value.name}/fp16", const_value=ir.tensor(array))
        half.dtype, half.shape = _FLOAT16, value.shape
        graph.register_initializer(half)
        known[value] = half
    return known[value]


def _cast(
    graph: ir.Graph, value: ir.Value, to: ir.DataType, known: dict[ir.Value, ir.Value]
) -> ir.Value:
    """A value in the other precision, cast once."""
    if value not in known:
        short = "fp16" if to == _FLOAT16 else "fp32"
        node = ir.node("Cast", [value], {"to": to}, name=f"{value.name}/{short}/Cast")
        result = node.outputs[0]
        result.name, result.dtype, result.shape = f"{value.name}/{short}", to, value.shape
        producer = value.producer()
        if producer is None:
            graph.insert_before(graph[0], node)
        else:
            graph.insert_after(producer, node)
        known[value] = result
    return known[value]


def _to_half(
    graph: ir.Graph,
    value: ir.Value,
    chosen: Collection[ir.Node],
    casts: dict[ir.Value, ir.Value],
) -> None:
    """Marks an output as fp16; readers in fp32 read a Cast of it."""
    value.dtype = _FLOAT16
    for use in tuple(value.uses()):
        if use.node not in chosen:
            use.node.replace_input_with(use.idx, _cast(graph, value, _FLOAT, casts))


def nodes_beyond_fp16(
    model: ir.Model, feeds: Iterable[Mapping[str, NDArray[np.int64]]]
) -> frozenset[str]:
    """Names of the nodes that make or read NaN, or a value outside -LIMIT to LIMIT.

    Args:
        model: a float graph.
        feeds: inputs of the graph, such as tokenised texts; without any, no node is named.
    """
    graph = model.graph
    values = [v for node in graph for v in node.outputs if v.dtype == ir.DataType.FLOAT]
    session = session_of(graph, graph.inputs, values)
    names = [value.name for value in values]
    beyond: set[ir.Value] = set()
    for feed in feeds:
        for value, array in zip(values, session.run(names, dict(feed)), strict=True):
            if array.size and not float(np.abs(array).max()) <= LIMIT:
                beyond.add(value)
    nodes = [v.producer() for v in beyond] + [use.node for v in beyond for use in v.uses()]
    return frozenset(str(node.name) for node in nodes if node is not None)
