"""Gelu behind a linear with its bias inside, and what else can stand there."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from polyhead_export.initializer import add_constant
from polyhead_export.rewrites.replacement import MICROSOFT, of_type, replace

_BIAS = 6  # of MatMulIntegerToFloat


def bias_gelu(graph: ir.Graph) -> int:
    """Take the bias out of the linear and into BiasGelu; gives their number."""
    return _with_bias(graph, "BiasGelu")


def fast_gelu(graph: ir.Graph) -> int:
    """Take the bias out of the linear and into FastGelu, which is the tanh form."""
    return _with_bias(graph, "FastGelu")


def microsoft(graph: ir.Graph) -> int:
    """The Gelu of onnxruntime's own domain; gives their number."""
    nodes = _exact(graph)
    for node in nodes:
        replace(graph, [node], [ir.node("Gelu", node.inputs, domain=MICROSOFT)])
    return len(nodes)


def decompose(graph: ir.Graph) -> int:
    """X * 0.5 * (1 + erf(x / sqrt 2)); gives their number."""
    nodes = _exact(graph)
    if not nodes:
        return 0
    root, one, half = (
        add_constant(graph, f"layout/{name}", np.array(value, np.float32))
        for name, value in (("sqrt2", np.sqrt(2.0)), ("one", 1.0), ("half", 0.5))
    )
    for node in nodes:
        x = node.inputs[0]
        scaled = ir.node("Div", [x, root])
        erf = ir.node("Erf", [scaled.outputs[0]])
        shifted = ir.node("Add", [erf.outputs[0], one])
        product = ir.node("Mul", [x, shifted.outputs[0]])
        halved = ir.node("Mul", [product.outputs[0], half])
        replace(graph, [node], [scaled, erf, shifted, product, halved])
    return len(nodes)


def _exact(graph: ir.Graph) -> list[ir.Node]:
    return [
        node
        for node in of_type(graph, "Gelu")
        if node.domain == "" and node.attributes.get_string("approximate", "none") == "none"
    ]


def _with_bias(graph: ir.Graph, operator: str) -> int:
    found = 0
    for node in _exact(graph):
        linear = node.inputs[0].producer() if node.inputs[0] is not None else None
        if linear is None or linear.op_type != "MatMulIntegerToFloat":
            continue
        if len(linear.inputs) <= _BIAS or len(tuple(linear.outputs[0].uses())) != 1:
            continue
        bias = linear.inputs[_BIAS]
        plain = ir.node(linear.op_type, linear.inputs[:_BIAS], domain=MICROSOFT, name=linear.name)
        fused = ir.node(operator, [plain.outputs[0], bias], domain=MICROSOFT)
        replace(graph, [linear, node], [plain, fused])
        found += 1
    return found
