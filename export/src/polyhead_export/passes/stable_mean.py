"""The mean over the tokens of a text, to the bit the same whatever the batch.

before: ReduceMean(x, axis 1), with x (batch, tokens, width)
after:  MatMul(ones (1, tokens), x) / tokens

onnxruntime 1.32 adds up in another order for one row than for several: differences up to 6e-6, and
so answers that depend on the other texts of a call. Its MatMul goes row by row of the batch.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from polyhead_export.subgraph import add_constant, first_rows, put_in_place

_AXIS = 1


class StableMean(ir.passes.InPlacePass):
    """Requires the exact layout: every token of a row counts."""

    def __init__(self, max_tokens: int) -> None:
        """Serve up to `max_tokens` tokens."""
        self._max_tokens = max_tokens

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every mean over tokens."""
        graph = model.graph
        means = [node for node in graph if _is_mean_over_tokens(node)]
        if means:
            ones, count = self._ones(graph)
            for node in means:
                _rewrite(graph, node, ones, count)
        return ir.passes.PassResult(model, bool(means))

    def ensures(self, model: ir.Model) -> None:
        """No mean over tokens is left."""
        if left := [n.name for n in model.graph if _is_mean_over_tokens(n)]:
            raise ir.passes.PostconditionError(f"left: {left}")

    def _ones(self, graph: ir.Graph) -> tuple[ir.Value, ir.Value]:
        """A row of ones, `(1, tokens)`, and the number of tokens as a float."""
        whole = add_constant(graph, "mean/ones", np.ones((1, self._max_tokens), np.float32))
        shape = ir.node("Shape", [graph.inputs[0]], {"start": 1, "end": 2}, name="mean/Shape")
        cut = first_rows(graph, whole, shape.outputs[0], name="mean")
        count = ir.node("Cast", [shape.outputs[0]], {"to": ir.DataType.FLOAT}, name="mean/Cast")
        graph.insert_before(graph[0], [shape, cut, count])
        return cut.outputs[0], count.outputs[0]


def _is_mean_over_tokens(node: ir.Node) -> bool:
    if node.op_type != "ReduceMean" or len(node.inputs) < 2:
        return False
    value, axes = node.inputs[:2]
    constant = axes.const_value if axes is not None else None
    if constant is None or value is None or value.shape is None or len(value.shape) != 3:
        return False
    if isinstance(value.shape[_AXIS], int):  # the number of tokens is never fixed
        return False
    return [int(a) for a in constant.numpy().reshape(-1)] in ([_AXIS], [_AXIS - 3])


def _rewrite(graph: ir.Graph, node: ir.Node, ones: ir.Value, count: ir.Value) -> None:
    total = ir.node("MatMul", [ones, node.inputs[0]], name=f"{node.name}/MatMul")
    mean = ir.node("Div", [total.outputs[0], count], name=f"{node.name}/Div")
    nodes = [total, mean]
    keep = node.attributes.get("keepdims")
    if keep is not None and keep.as_int() == 0:
        axis = add_constant(graph, f"{node.name}/axis", np.array([_AXIS], np.int64))
        nodes.append(ir.node("Squeeze", [mean.outputs[0], axis], name=f"{node.name}/Squeeze"))
    put_in_place(graph, node.outputs[0], nodes, remove=[node])
