"""The large embedding table to int8, with a scale for each of its rows: a quarter of the bytes.

before: Gather(table, ids)
after:  Mul(Cast(Gather(table8, ids)), Gather(scales, ids))
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from polyhead_export.subgraph import add_constant, put_in_place

_BYTES = 2**20
"""Smaller tables stay in float: positions and types are read by every token."""


class QuantiseEmbeddings(ir.passes.InPlacePass):
    """Quantises tables of 1 MiB and more that rows are gathered from."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Quantise."""
        graph = model.graph
        tables: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}
        gathers = [node for node in graph if _is_large(node)]
        for node in gathers:
            table, ids = node.inputs
            assert table is not None
            if table not in tables:
                tables[table] = _quantised(graph, table)
            values, scales = tables[table]
            name = node.name
            rows = ir.node("Gather", [values, ids], name=f"{name}/rows")
            cast = ir.node(
                "Cast", [rows.outputs[0]], {"to": ir.DataType.FLOAT}, name=f"{name}/Cast"
            )
            factor = ir.node("Gather", [scales, ids], name=f"{name}/scales")
            product = ir.node("Mul", [cast.outputs[0], factor.outputs[0]], name=f"{name}/Mul")
            nodes = [rows, cast, factor, product]
            put_in_place(graph, node.outputs[0], nodes, remove=[node])
        return ir.passes.PassResult(model, bool(gathers))

    def ensures(self, model: ir.Model) -> None:
        """No large table is left in float."""
        if left := [node.name for node in model.graph if _is_large(node)]:
            raise ir.passes.PostconditionError(f"left: {left}")


def _is_large(node: ir.Node) -> bool:
    if node.op_type != "Gather" or node.inputs[0] is None:
        return False
    axis = node.attributes.get("axis")
    table = node.inputs[0].const_value
    return (
        table is not None
        and node.inputs[0].is_initializer()
        and table.dtype == ir.DataType.FLOAT
        and len(table.shape) == 2
        and table.nbytes >= _BYTES
        and (axis is None or axis.as_int() == 0)
    )


def _quantised(graph: ir.Graph, table: ir.Value) -> tuple[ir.Value, ir.Value]:
    assert table.const_value is not None
    array = table.const_value.numpy()
    scales = np.maximum(np.abs(array).max(axis=1, keepdims=True) / 127, 1e-12).astype(np.float32)
    return (
        add_constant(graph, f"{table.name}/rows", np.rint(array / scales).astype(np.int8)),
        add_constant(graph, f"{table.name}/scales", scales),
    )
