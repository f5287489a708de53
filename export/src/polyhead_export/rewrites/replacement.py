"""Puts a chain of new nodes in the place of a chain of old ones."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

MICROSOFT = "com.microsoft"


def replace(graph: ir.Graph, old: Sequence[ir.Node], new: Sequence[ir.Node]) -> None:
    """Let the last of `new` give what the last of `old` gave, under the same name."""
    before, after = old[-1].outputs[0], new[-1].outputs[0]
    after.name, after.type, after.shape = before.name, before.type, before.shape
    new[-1].name = old[-1].name
    ir.convenience.replace_nodes_and_values(graph, old[-1], list(old), list(new), [before], [after])
    if any(node.domain == MICROSOFT for node in new):
        graph.opset_imports[MICROSOFT] = 1


def only_use(value: ir.Value | None) -> ir.Node | None:
    """The one node that reads a value; None when several do or the graph gives it out."""
    if value is None or value.is_graph_output():
        return None
    uses = tuple(value.uses())
    return uses[0].node if len(uses) == 1 else None


def of_type(graph: ir.Graph, operator: str) -> list[ir.Node]:
    """The nodes of an operator, in the order of the graph."""
    return [node for node in graph if node.op_type == operator]
