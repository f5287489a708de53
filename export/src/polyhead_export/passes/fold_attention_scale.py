"""The scale of attention into the linear that makes its queries.

before: Attention(Add(MatMul(x, W), b), K, V, scale = s)
after:  Attention(Add(MatMul(x, s W), s b), K, V, scale = 1)

onnxruntime 1.32 multiplies with a scale other than 1 each time: 1% of MiniLM's time.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from polyhead_export.subgraph import add_constant


class FoldAttentionScale(ir.passes.InPlacePass):
    """Leaves what shares the weights of its queries, or makes them otherwise."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold every scale that can be folded."""
        modified = False
        for node in model.graph:
            if node.op_type == "Attention" and _scale(node) not in (None, 1.0):
                modified |= _fold(model.graph, node)
        return ir.passes.PassResult(model, modified)


def _fold(graph: ir.Graph, attention: ir.Node) -> bool:
    constants = _constants(attention.inputs[0])
    scale = _scale(attention)
    if constants is None or scale is None:
        return False
    for node, place, value in constants:
        assert value.const_value is not None
        array = value.const_value.numpy() * np.float32(scale)
        node.replace_input_with(place, add_constant(graph, f"{value.name}/scaled", array))
    attention.attributes["scale"] = ir.AttrFloat32("scale", 1.0)
    return True


def _scale(attention: ir.Node) -> float | None:
    """None where the operator finds it from the width of a head."""
    scale = attention.attributes.get("scale")
    return None if scale is None else scale.as_float()


def _constants(queries: ir.Value | None) -> list[tuple[ir.Node, int, ir.Value]] | None:
    """Bias and weight of the linear that makes the queries and nothing else, with their places."""
    add = _only(queries, "Add")
    if add is None:
        return None
    matmul = next((node for value in add.inputs if (node := _only(value, "MatMul"))), None)
    if matmul is None:
        return None
    found = [
        (node, place, value)
        for node in (add, matmul)
        for place, value in enumerate(node.inputs)
        if value is not None and value.is_initializer() and len(value.uses()) == 1
    ]
    return found if [node for node, _, _ in found] == [add, matmul] else None


def _only(value: ir.Value | None, operator: str) -> ir.Node | None:
    """The node of this operator that makes a value which one node reads."""
    node = value.producer() if value is not None else None
    if value is None or node is None or node.op_type != operator or len(value.uses()) != 1:
        return None
    return node
