"""MatMulIntegerToFloat with static scales, and what else can stand there."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from polyhead_export.initializer import add_constant
from polyhead_export.rewrites.replacement import MICROSOFT, of_type, replace


def dynamic(graph: ir.Graph) -> int:
    """DynamicQuantizeMatMul: one scale for the whole batch, found while it runs."""
    nodes = _static(graph)
    for node in nodes:
        _, weight, _, scale, _, zero, *bias = node.inputs
        inputs = [_unquantised(node), weight, scale, zero, *bias]
        replace(graph, [node], [ir.node("DynamicQuantizeMatMul", inputs, domain=MICROSOFT)])
    return len(nodes)


def pairs(graph: ir.Graph) -> int:
    """QuantizeLinear/DequantizeLinear pairs, which onnxruntime fuses while it loads."""
    nodes = _static(graph)
    for node in nodes:
        x, weight, x_scale, scale, x_zero, zero, *bias = node.inputs
        left = ir.node("DequantizeLinear", [x, x_scale, x_zero])
        right = ir.node("DequantizeLinear", [weight, scale, zero], {"axis": 1})
        product = ir.node("MatMul", [left.outputs[0], right.outputs[0]])
        replace(graph, [node], [left, right, *_biased(product, bias)])
    return len(nodes)


def floating(graph: ir.Graph) -> int:
    """MatMul of float32 with the restored weights."""
    nodes = _static(graph)
    for index, node in enumerate(nodes):
        weight, scale = node.inputs[1], node.inputs[3]
        if weight is None or scale is None:
            continue
        if weight.const_value is None or scale.const_value is None:
            continue
        restored = weight.const_value.numpy().astype(np.float32) * scale.const_value.numpy()
        value = add_constant(graph, f"layout/weight/{index}", restored)
        product = ir.node("MatMul", [_unquantised(node), value])
        replace(graph, [node], _biased(product, list(node.inputs[6:])))
    return len(nodes)


def _biased(product: ir.Node, bias: list[ir.Value | None]) -> list[ir.Node]:
    return [product, *(ir.node("Add", [product.outputs[0], b]) for b in bias if b is not None)]


def _static(graph: ir.Graph) -> list[ir.Node]:
    """Linears whose activation has a scale that was measured at export."""
    return [n for n in of_type(graph, "MatMulIntegerToFloat") if _unquantised(n) is not None]


def _unquantised(node: ir.Node) -> ir.Value | None:
    quantised = node.inputs[0].producer() if node.inputs[0] is not None else None
    if quantised is None or quantised.op_type != "QuantizeLinear":
        return None
    return quantised.inputs[0]
