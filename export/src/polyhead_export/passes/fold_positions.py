"""Position and token-type embeddings into one table, cut to the length of the text.

before: x + Gather(types, …) + Gather(positions, Slice(position_ids, tokens))
after:  x + Slice(table, tokens)

Whatever depends on the input's shape only is computed here once, for the longest text; a shorter
text takes the first rows of it. Values for which that does not hold are left alone.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from polyhead_export.subgraph import (
    add_constant,
    evaluate,
    first_rows,
    require_token_inputs,
    shape_only,
)


class FoldPositions(ir.passes.InPlacePass):
    """Requires int64 inputs `(batch, tokens)` of at most `max_tokens` tokens.

    Rows may be padded: what depends on a mask does not depend on the shape only, and stays. So do
    the nodes that fall out of use: run `clean` after it.
    """

    def __init__(self, max_tokens: int) -> None:
        """Make tables of `max_tokens` rows."""
        self._max_tokens = max_tokens

    def requires(self, model: ir.Model) -> None:
        """Every input is int64 `(batch, tokens)`."""
        require_token_inputs(model.graph)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold each value, then join tables that are added one after the other."""
        graph = model.graph
        tables: dict[ir.Value, NDArray[Any]] = {}
        candidates = _added(graph)
        shapes = [(1, self._max_tokens), (2, 3), (1, 1)]
        whole, *parts = evaluate(graph, candidates, shapes) if candidates else ([], [], [])
        for i, value in enumerate(candidates):
            if all(_is_prefix(part[i], whole[i]) for part in parts):
                tables[value] = whole[i][:1]
        _join(tables)
        length: ir.Value | None = None
        for value, table in tables.items():
            length = length or _length(graph)
            _replace(graph, value, table, length)
        return ir.passes.PassResult(model, bool(tables))


def _added(graph: ir.Graph) -> list[ir.Value]:
    """Shape-only float values `(…, tokens, width)` that are added to something that is not."""
    known = shape_only(graph)
    return [
        value
        for node in graph
        for value in node.outputs
        if value in known
        and value.dtype == ir.DataType.FLOAT
        and value.shape is not None
        and len(value.shape) == 3
        and value.uses()
        and all(u.node.op_type == "Add" and u.node.outputs[0] not in known for u in value.uses())
    ]


def _is_prefix(part: NDArray[Any], whole: NDArray[Any]) -> bool:
    rows = whole[:1, : part.shape[1]]
    return rows.shape == part[:1].shape and bool((part == rows).all())


def _join(tables: dict[ir.Value, NDArray[Any]]) -> None:
    """(x + a) + b, with tables a and b, into x + (a + b)."""
    for value in list(tables):
        uses = tuple(value.uses())
        if len(uses) != 1:
            continue
        outer = uses[0].node
        inner = _other(outer, value).producer()
        if inner is None or inner.op_type != "Add" or len(inner.outputs[0].uses()) != 1:
            continue
        first = next((v for v in inner.inputs if v in tables and len(v.uses()) == 1), None)
        if first is None:
            continue
        tables[first] = tables[first] + tables.pop(value)
        ir.convenience.replace_all_uses_with(outer.outputs[0], inner.outputs[0])


def _other(node: ir.Node, value: ir.Value) -> ir.Value:
    left, right = node.inputs
    other = right if left is value else left
    assert other is not None
    return other


def _length(graph: ir.Graph) -> ir.Value:
    """The number of tokens, `(1,)`, at the head of the graph."""
    shape = ir.node("Shape", [graph.inputs[0]], {"start": 1, "end": 2}, name="tokens/Shape")
    graph.insert_before(graph[0], shape)
    return shape.outputs[0]


def _replace(graph: ir.Graph, value: ir.Value, table: NDArray[Any], length: ir.Value) -> None:
    producer = value.producer()
    assert producer is not None
    name = f"positions/{value.name}"
    rows = add_constant(graph, name, table)
    cut = first_rows(graph, rows, length, name=name)
    graph.insert_before(producer, cut)
    ir.convenience.replace_all_uses_with(value, cut.outputs[0])
