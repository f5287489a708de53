"""Linears to int8 as QuantizeLinear/DequantizeLinear pairs: standard ONNX, for any provider.

before: MatMul(x, W)
after:  MatMul(DequantizeLinear(QuantizeLinear(x)), DequantizeLinear(W8))

Activations: u8, asymmetric, one static scale a tensor; or, where that is too coarse, a scale for
each token: x is divided by its token's largest absolute value r, and what comes out multiplied:

after:  Mul(MatMul(DequantizeLinear(QuantizeLinear(Div(x, r))), DequantizeLinear(W8)), r)

Weights: s8, symmetric, one scale an output channel. Linears that read the same tensor share one
QuantizeLinear, and those that share a weight share its int8 form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from polyhead_export.subgraph import add_constant

LARGEST = 64
"""Absolute value of an int8 weight, 7 bits. x86 without VNNI adds two products of u8 and s8 in 16
bits: their sum always fits then, 2 · 255 · 64 = 32,640."""

_SMALLEST = np.float32(1e-12)


class QuantiseLinears(ir.passes.InPlacePass):
    """Quantises the linears that it is given an int8 weight for."""

    def __init__(
        self,
        ranges: Mapping[str, tuple[float, float]],
        weights: Mapping[str, NDArray[np.int8]],
        *,
        per_row: frozenset[str] = frozenset(),
    ) -> None:
        """Set what was found.

        Args:
            ranges: by name of the activation, its smallest and largest value.
            weights: by name of the linear, int8 `(inputs, outputs)`; times `weight_scales` of the
                linear's own weight they are close to it. Other linears stay in float.
            per_row: names of linears that get a scale for each token instead.
        """
        self._ranges, self._weights = ranges, weights
        self._per_row = per_row

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Quantise."""
        graph = model.graph
        static: dict[ir.Value, ir.Value] = {}
        rows: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}
        weights: dict[ir.Value, ir.Value] = {}
        modified = False
        for node in [linear.node for linear in linears(graph)]:
            linear = _linear(node)  # its input may be the Mul of the linear before by now
            if linear is None or not self._is_chosen(linear):
                continue
            value = linear.activation
            modified = True
            if linear.node.name in self._per_row:
                if value not in rows:
                    rows[value] = _rows(graph, linear)
                _restore(graph, linear.node, *rows[value])
            else:
                if value not in static:
                    low, high = self._ranges[value.name or ""]
                    static[value] = _activation(graph, linear, low, high)
                linear.node.replace_input_with(0, static[value])
            weight = linear.node.inputs[1]
            assert weight is not None
            if weight not in weights:
                found = self._weights[linear.node.name or ""]
                weights[weight] = _weight(graph, linear, found)
            linear.node.replace_input_with(1, weights[weight])
        return ir.passes.PassResult(model, modified)

    def ensures(self, model: ir.Model) -> None:
        """No linear that is to be quantised multiplies floats."""
        if left := [n.node.name for n in linears(model.graph) if self._is_chosen(n)]:
            raise ir.passes.PostconditionError(f"left in float: {left}")

    def _is_chosen(self, linear: Linear) -> bool:
        return linear.node.name in self._weights


@dataclass(frozen=True)
class Linear:
    """A MatMul of an activation with a constant float matrix `(inputs, outputs)`."""

    node: ir.Node
    activation: ir.Value
    weight: ir.TensorProtocol


def linears(graph: ir.Graph) -> list[Linear]:
    """The linears of a float graph, in its order."""
    return [linear for node in graph if (linear := _linear(node)) is not None]


def _linear(node: ir.Node) -> Linear | None:
    if node.op_type != "MatMul":
        return None
    activation, weight = node.inputs
    constant = weight.const_value if weight is not None else None
    if activation is None or constant is None or len(constant.shape) != 2:
        return None
    return Linear(node, activation, constant) if constant.dtype == ir.DataType.FLOAT else None


def activation_scale(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of u8 for values from `low` to `high`.

    Zero is always inside the range, so that it is exact.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255.0, 1e-12)
    return scale, int(np.clip(round(-low / scale), 0, 255))


def weight_scales(weight: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """What int8 values are multiplied by, for each output channel, float32 `(outputs,)`.

    Args:
        weight: float `(inputs, outputs)`.
    """
    scales: NDArray[np.float32] = np.maximum(np.abs(weight).max(axis=0) / LARGEST, 1e-12)
    return scales.astype(np.float32)


def _activation(graph: ir.Graph, linear: Linear, low: float, high: float) -> ir.Value:
    value = linear.activation
    scale, zero = activation_scale(low, high)
    scale_value = add_constant(graph, f"{value.name}/scale", np.array(scale, np.float32))
    zero_value = add_constant(graph, f"{value.name}/zero_point", np.array(zero, np.uint8))
    return _pair(graph, linear.node, value, scale_value, zero_value)


def _rows(graph: ir.Graph, linear: Linear) -> tuple[ir.Value, ir.Value]:
    """An activation over its tokens' largest absolute values, restored; and these, `(…, 1)`."""
    value, name = linear.activation, linear.activation.name
    axis = add_constant(graph, f"{name}/rows/axis", np.array([-1], np.int64))
    least = add_constant(graph, f"{name}/rows/least", np.array(_SMALLEST, np.float32))
    absolute = ir.node("Abs", [value], name=f"{name}/Abs")
    top = ir.node("ReduceMax", [absolute.outputs[0], axis], name=f"{name}/ReduceMax")
    largest = ir.node("Max", [top.outputs[0], least], name=f"{name}/Max")
    over = ir.node("Div", [value, largest.outputs[0]], name=f"{name}/Div")
    over.outputs[0].name = f"{name}/rows"
    graph.insert_before(linear.node, [absolute, top, largest, over])
    scale = add_constant(graph, f"{name}/rows/scale", np.array(1 / 127, np.float32))
    zero = add_constant(graph, f"{name}/rows/zero_point", np.array(128, np.uint8))
    restored = _pair(graph, linear.node, over.outputs[0], scale, zero)
    return restored, largest.outputs[0]


def _restore(graph: ir.Graph, node: ir.Node, restored: ir.Value, largest: ir.Value) -> None:
    """Multiply what the linear computes by its tokens' largest values."""
    node.replace_input_with(0, restored)
    product = node.outputs[0]
    scaled = ir.node("Mul", [product, largest], name=f"{node.name}/Mul")
    scaled.outputs[0].type, scaled.outputs[0].shape = product.type, product.shape
    scaled.outputs[0].name, product.name = product.name, f"{product.name}/unscaled"
    ir.convenience.replace_all_uses_with(product, scaled.outputs[0], replace_graph_outputs=True)
    scaled.replace_input_with(0, product)
    graph.insert_after(node, scaled)


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


def _weight(graph: ir.Graph, linear: Linear, values: NDArray[np.int8]) -> ir.Value:
    scales = weight_scales(linear.weight.numpy())
    name = linear.node.name
    restore = ir.node(
        "DequantizeLinear",
        [
            add_constant(graph, f"{name}/weight", values),
            add_constant(graph, f"{name}/weight_scale", scales),
            add_constant(graph, f"{name}/weight_zero_point", np.zeros(len(scales), np.int8)),
        ],
        {"axis": 1},
        name=f"{name}/weight/DequantizeLinear",
    )
    graph.insert_before(linear.node, restore)
    return restore.outputs[0]
