"""Rotary positions in the 3-D form, from tables that hold all positions.

before: x -> Reshape -> Transpose -> RotaryEmbedding(x, cos, sin), with cos and sin
        (1, tokens, width / 2) computed anew in each call
after:  x -> RotaryEmbedding(x, cos, sin, position_ids) -> Reshape -> Transpose, with cos and sin
        (max_tokens, width / 2), so that `AttentionLayout` can take the transposes away

onnxruntime refuses cos and sin of one row for a batch of several.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from polyhead_export.passes.attention_layout import head_sizes, unsplit
from polyhead_export.passes.split_heads import split_nodes
from polyhead_export.subgraph import (
    add_constant,
    evaluate,
    first_rows,
    put_in_place,
    require_token_inputs,
    shape_only,
)


class RotaryLayout(ir.passes.InPlacePass):
    """Requires what `SplitHeads` ensures, and int64 inputs `(batch, tokens)`.

    Nodes whose cos and sin hang on more than positions stay.
    The nodes that fall out of use stay: run `clean` after it.
    """

    def __init__(self, max_tokens: int) -> None:
        """Make tables of `max_tokens` rows."""
        self._max_tokens = max_tokens

    def requires(self, model: ir.Model) -> None:
        """Every input is int64 `(batch, tokens)`."""
        require_token_inputs(model.graph)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every RotaryEmbedding without position ids."""
        graph = model.graph
        tables = self._tables(graph)
        nodes = _computed(graph, tables)
        if nodes:
            positions, constants = self._positions(graph), _constants(graph, tables)
            for node in nodes:
                cos, sin = (constants[v] for v in node.inputs[1:3] if v is not None)
                _rewrite(graph, node, [cos, sin, positions])
        return ir.passes.PassResult(model, bool(nodes))

    def ensures(self, model: ir.Model) -> None:
        """No RotaryEmbedding computes what depends on the position alone anew in each call."""
        left = _computed(model.graph, self._tables(model.graph))
        if left:
            raise ir.passes.PostconditionError(f"left: {[node.name for node in left]}")

    def _tables(self, graph: ir.Graph) -> dict[ir.Value | None, NDArray[Any]]:
        """The values of cos and sin by position, where they depend on it alone."""
        known = shape_only(graph)
        read = dict.fromkeys(v for node in graph if _rotary(node) for v in node.inputs[1:3])
        values = [v for v in read if v is not None and v in known]
        if not values:
            return {}
        whole, part = evaluate(graph, values, [(1, self._max_tokens), (2, 3)])
        return {
            value: long[0]
            for value, long, short in zip(values, whole, part, strict=True)
            if long.ndim == 3 and bool((short == long[:1, : short.shape[1]]).all())
        }

    def _positions(self, graph: ir.Graph) -> ir.Value:
        """0, 1, 2 … in each row, `(batch, tokens)`."""
        row = add_constant(graph, "rotary/row", np.arange(self._max_tokens, dtype=np.int64)[None])
        shape = ir.node("Shape", [graph.inputs[0]], name="rotary/Shape")
        length = ir.node("Shape", [graph.inputs[0]], {"start": 1, "end": 2}, name="rotary/Length")
        cut = first_rows(graph, row, length.outputs[0], name="rotary")
        rows = ir.node("Expand", [cut.outputs[0], shape.outputs[0]], name="rotary/Expand")
        graph.insert_before(graph[0], [shape, length, cut, rows])
        return rows.outputs[0]


def _rotary(node: ir.Node) -> bool:
    return node.op_type == "RotaryEmbedding" and len(node.inputs) == 3


def _computed(graph: ir.Graph, tables: Container[ir.Value | None]) -> list[ir.Node]:
    """The nodes without position ids whose cos and sin could be rows of tables."""
    return [n for n in graph if _rotary(n) and all(v in tables for v in n.inputs[1:3])]


def _constants(
    graph: ir.Graph, tables: dict[ir.Value | None, NDArray[Any]]
) -> dict[ir.Value | None, ir.Value]:
    """One initializer for equal tables: the exporter computes cos and sin again for each use."""
    made: dict[bytes, ir.Value] = {}
    for table in tables.values():
        if (key := table.tobytes()) not in made:
            made[key] = add_constant(graph, f"rotary/table_{len(made)}", table)
    return {value: made[table.tobytes()] for value, table in tables.items()}


def _rewrite(graph: ir.Graph, node: ir.Node, given: list[ir.Value]) -> None:
    """`given`: cos, sin and position ids. An input of another form keeps its 4-D form."""
    old = node.outputs[0]
    flat, sizes = unsplit(node.inputs[0]), head_sizes(old)
    if flat is None or sizes is None:
        node.resize_inputs(4)
        for index, value in enumerate(given, start=1):
            node.replace_input_with(index, value)
        return
    attributes = {**node.attributes, "num_heads": ir.AttrInt64("num_heads", sizes[0])}
    turned = ir.Node(
        "",
        "RotaryEmbedding",
        [flat, *given],
        attributes=attributes.values(),
        name=node.name,
        outputs=[ir.Value(name=f"{old.name}/flat", type=flat.type, shape=flat.shape)],
    )
    split, transposed = split_nodes(graph, turned.outputs[0], *sizes, name=f"{node.name}/out")
    put_in_place(graph, old, [turned, split, transposed], remove=[node])
