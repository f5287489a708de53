"""Add + LayerNormalization, and what else gives the same numbers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from polyhead_export.initializer import add_constant
from polyhead_export.rewrites.replacement import MICROSOFT, of_type, only_use, replace

_EPSILON = 1e-5  # of ONNX


def skip(graph: ir.Graph) -> int:
    """Turn Add + LayerNormalization into SkipLayerNormalization; gives their number."""
    found = 0
    for norm in of_type(graph, "LayerNormalization"):
        add = norm.inputs[0].producer() if norm.inputs[0] is not None else None
        if add is None or add.op_type != "Add" or only_use(add.outputs[0]) is not norm:
            continue
        if len(norm.inputs) < 3 or any(v is None or not _whole(v) for v in add.inputs):
            continue
        inputs = [*add.inputs, *norm.inputs[1:3]]
        attributes = {"epsilon": norm.attributes.get_float("epsilon", _EPSILON)}
        fused = ir.node("SkipLayerNormalization", inputs, attributes, domain=MICROSOFT)
        replace(graph, [add, norm], [fused])
        found += 1
    return found


def decompose(graph: ir.Graph) -> int:
    """Turn LayerNormalization into means, differences and products; gives their number."""
    norms = [n for n in of_type(graph, "LayerNormalization") if len(n.inputs) == 3]
    if not norms:
        return 0
    last = add_constant(graph, "layout/last_axis", np.array([-1], np.int64))
    for index, norm in enumerate(norms):
        x, scale, shift = norm.inputs
        value = np.array(norm.attributes.get_float("epsilon", _EPSILON), np.float32)
        epsilon = add_constant(graph, f"layout/epsilon/{index}", value)
        mean = ir.node("ReduceMean", [x, last], {"keepdims": 1})
        centred = ir.node("Sub", [x, mean.outputs[0]])
        square = ir.node("Mul", [centred.outputs[0], centred.outputs[0]])
        variance = ir.node("ReduceMean", [square.outputs[0], last], {"keepdims": 1})
        safe = ir.node("Add", [variance.outputs[0], epsilon])
        deviation = ir.node("Sqrt", [safe.outputs[0]])
        unit = ir.node("Div", [centred.outputs[0], deviation.outputs[0]])
        scaled = ir.node("Mul", [unit.outputs[0], scale])
        shifted = ir.node("Add", [scaled.outputs[0], shift])
        chain = [mean, centred, square, variance, safe, deviation, unit, scaled, shifted]
        replace(graph, [norm], chain)
    return len(norms)


def _whole(value: ir.Value) -> bool:
    """Whether a summand is sure to have all three axes: a constant is broadcast."""
    if value.is_initializer():
        return False
    producer = value.producer()
    # The positions of the embeddings have one row for the whole batch.
    return producer is not None and producer.op_type not in ("Slice", "Gather", "Add")
