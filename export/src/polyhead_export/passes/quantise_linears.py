"""Linears to int8 as QuantizeLinear/DequantizeLinear pairs: standard ONNX, for any provider.

before: MatMul(x, W)
after:  MatMul(DequantizeLinear(QuantizeLinear(x)), DequantizeLinear(W8))

Activations: u8, asymmetric, one static scale a tensor. Weights: s8, symmetric, one scale an output
channel. Linears that read the same tensor share one QuantizeLinear.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from polyhead_export.initializer import add_constant


class QuantiseLinears(ir.passes.InPlacePass):
    """Quantises the linears that `linears` names."""

    def __init__(self, ranges: Mapping[str, tuple[float, float]]) -> None:
        """Set the ranges.

        Args:
            ranges: by name of the activation, its smallest and largest value. A MatMul with a
                constant weight is quantised when its input is named here.
        """
        self._ranges = ranges

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Quantise."""
        graph = model.graph
        shared: dict[ir.Value, ir.Value] = {}
        modified = False
        for linear in linears(graph):
            if (name := linear.activation.name or "") not in self._ranges:
                continue
            modified = True
            if linear.activation not in shared:
                low, high = self._ranges[name]
                shared[linear.activation] = _activation(graph, linear, low, high)
            linear.node.replace_input_with(0, shared[linear.activation])
            linear.node.replace_input_with(1, _weight(graph, linear))
        return ir.passes.PassResult(model, modified)


@dataclass(frozen=True)
class Linear:
    """A MatMul of an activation with a constant float matrix `(inputs, outputs)`."""

    node: ir.Node
    activation: ir.Value
    weight: ir.TensorProtocol


def linears(graph: ir.Graph) -> list[Linear]:
    """The linears of a float graph, in its order."""
    found = []
    for node in graph:
        if node.op_type != "MatMul":
            continue
        activation, weight = node.inputs
        constant = weight.const_value if weight is not None else None
        if activation is None or constant is None or len(constant.shape) != 2:
            continue
        if constant.dtype == ir.DataType.FLOAT:
            found.append(Linear(node, activation, constant))
    return found


def _activation(graph: ir.Graph, linear: Linear, low: float, high: float) -> ir.Value:
    """Zero is always inside the range, so that it is exact."""
    value = linear.activation
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255.0, 1e-12)
    zero = int(np.clip(round(-low / scale), 0, 255))
    scale_value = add_constant(graph, f"{value.name}/scale", np.array(scale, np.float32))
    zero_value = add_constant(graph, f"{value.name}/zero_point", np.array(zero, np.uint8))
    return _pair(graph, linear.node, value, scale_value, zero_value)


def _pair(
    graph: ir.Graph,
    node: ir.Node,
    value: ir.Value,
    scale: ir.Value,
    zero: ir.Value,
) -> ir.Value:
    name = value.name
    quantise = ir.node("QuantizeLinear", [value, scale, zero], name=f"{name}/QuantizeLinear")
    restore = ir.node(
        "DequantizeLinear", [quantise.outputs[0], scale, zero], name=f"{name}/DequantizeLinear"
    )
    quantise.outputs[0].name, restore.outputs[0].name = f"{name}/u8", f"{name}/restored"
    graph.insert_before(node, [quantise, restore])
    return restore.outputs[0]


def _weight(graph: ir.Graph, linear: Linear) -> ir.Value:
    quantised, scales = quantise_weight(linear.weight.numpy())
    name = linear.node.name
    restore = ir.node(
        "DequantizeLinear",
        [
            add_constant(graph, f"{name}/weight", quantised),
            add_constant(graph, f"{name}/weight_scale", scales),
            add_constant(graph, f"{name}/weight_zero_point", np.zeros(len(scales), np.int8)),
        ],
        {"axis": 1},
        name=f"{name}/weight/DequantizeLinear",
    )
    graph.insert_before(linear.node, restore)
    return restore.outputs[0]


def quantise_weight(
    weight: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 with one scale an output channel.

    Args:
        weight: float32 `(inputs, outputs)`.

    Returns:
        int8 `(inputs, outputs)` and float32 `(outputs,)`; their product is close to `weight`.
    """
    scales = np.maximum(np.abs(weight).max(axis=0) / 127.0, 1e-12).astype(np.float32)
    quantised = np.clip(np.rint(weight / scales), -127, 127).astype(np.int8)
    return quantised, scales
