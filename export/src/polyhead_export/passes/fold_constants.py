"""Values that are computed from weights alone, computed here once.

before: Add(x, MatMul(LayerNormalization(table), W))
after:  Add(x, folded)

The exporter folds small ones and stops at LayerNormalization; DeBERTa projects its table of
relative positions in every layer.
"""

from __future__ import annotations

from collections.abc import Container

import onnx_ir as ir

from polyhead_export.subgraph import add_constant, session_of

# Of these the result is larger than what it is made of.
_LARGER = {"Expand", "ConstantOfShape", "Range", "Tile"}


class FoldConstants(ir.passes.InPlacePass):
    """The nodes that fall out of use stay: run `clean` after it."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold."""
        graph = model.graph
        values = _folded(graph)
        if not values:
            return ir.passes.PassResult(model, False)
        arrays = session_of(graph, [], values).run([value.name for value in values], {})
        for value, array in zip(values, arrays, strict=True):
            constant = add_constant(graph, f"folded/{value.name}", array)
            ir.convenience.replace_all_uses_with(value, constant)
        return ir.passes.PassResult(model, True)

    def ensures(self, model: ir.Model) -> None:
        """Nothing that hangs on the input reads what is computed from weights alone."""
        if left := [value.name for value in _folded(model.graph)]:
            raise ir.passes.PostconditionError(f"left: {left}")


def _folded(graph: ir.Graph) -> list[ir.Value]:
    """What is computed from weights alone and read by something that is not, in graph order."""
    constant: dict[ir.Node, None] = {}
    for node in graph:
        made = node.inputs and node.op_type not in _LARGER
        if made and all(v is None or _known(v, constant) for v in node.inputs):
            constant[node] = None
    return [
        value
        for node in constant
        for value in node.outputs
        if any(u.node not in constant for u in value.uses()) and not value.is_graph_output()
    ]


def _known(value: ir.Value, constant: Container[ir.Node | None]) -> bool:
    return value.is_initializer() or value.producer() in constant
