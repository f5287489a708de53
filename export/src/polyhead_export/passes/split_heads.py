"""The way from a linear's output to the heads of an attention, in one form for all families.

before: x (batch, tokens, n) -> Reshape, Transpose, Slice, Squeeze … in some order
        -> (batch, heads, tokens, width)
after:  x -> Slice (its last axis, where n is more than heads * width) -> Reshape (batch, tokens,
        heads, width) -> Transpose (batch, heads, tokens, width)

What the nodes do is found by running them on numbers that show where each element came from.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from polyhead_export.passes.attention_layout import head_sizes, unsplit
from polyhead_export.subgraph import add_constant, put_in_place, session_of

_MOVES = {"Reshape", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Split", "Gather"}
_SHAPES = ((2, 3), (1, 1), (3, 5))


class SplitHeads(ir.passes.InPlacePass):
    """Rewrites the first three inputs of Attention and the first of RotaryEmbedding.

    Values that come about in another way are left alone. The nodes that fall out of use stay: run
    `clean` after it.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite."""
        modified = False
        for value in _values(model.graph):
            modified |= _rewrite(model.graph, value)
        return ir.passes.PassResult(model, modified)

    def ensures(self, model: ir.Model) -> None:
        """No heads that stand one after the other in a linear's output come in another way."""
        others = [value for value in _values(model.graph) if unsplit(value) is None]
        if left := [value.name for value in others if _place(model.graph, value)]:
            raise ir.passes.PostconditionError(f"left: {left}")


def _values(graph: ir.Graph) -> list[ir.Value]:
    read = {"Attention": 3, "RotaryEmbedding": 1}
    values = [v for node in graph for v in node.inputs[: read.get(node.op_type, 0)]]
    return [v for v in dict.fromkeys(values) if v is not None and head_sizes(v) is not None]


def _rewrite(graph: ir.Graph, value: ir.Value) -> bool:
    place, sizes, producer = _place(graph, value), head_sizes(value), value.producer()
    if place is None or sizes is None or producer is None:
        return False
    (source, first), (heads, width) = place, sizes
    assert source.shape is not None
    nodes = []
    part, name = source, value.name
    if source.shape[2] != heads * width:
        bounds = [first, first + heads * width, -1]
        constants = [
            add_constant(graph, f"{name}/{what}", np.array([number], np.int64))
            for what, number in zip(("first", "end", "axis"), bounds, strict=True)
        ]
        nodes.append(ir.node("Slice", [source, *constants], name=f"{producer.name}/Slice"))
        part = nodes[-1].outputs[0]
        part.shape = ir.Shape([*source.shape[:2], heads * width])
        part.type = source.type
    split, transposed = split_nodes(graph, part, heads, width, name=f"{producer.name}/heads")
    put_in_place(graph, value, [*nodes, split, transposed])
    value.name = f"{name}/before"
    return True


def split_nodes(
    graph: ir.Graph, value: ir.Value, heads: int, width: int, *, name: str
) -> tuple[ir.Node, ir.Node]:
    """Nodes from `(batch, tokens, heads * width)` to `(batch, heads, tokens, width)`."""
    shape = add_constant(graph, f"{name}/shape", np.array([0, 0, heads, width], np.int64))
    split = ir.node("Reshape", [value, shape], name=f"{name}/Reshape")
    turned = ir.node(
        "Transpose", [split.outputs[0]], {"perm": [0, 2, 1, 3]}, name=f"{name}/Transpose"
    )
    return split, turned


def _place(graph: ir.Graph, value: ir.Value) -> tuple[ir.Value, int] | None:
    """What heads are moved out of, and where in it they begin; None when that is not so."""
    source, sizes = _source(value), head_sizes(value)
    if source is None or sizes is None:
        return None
    first = _first(graph, source, value, *sizes)
    return None if first is None else (source, first)


def _source(value: ir.Value) -> ir.Value | None:
    """The `(batch, tokens, n)` that a value is made of by moving elements alone."""
    current: ir.Value | None = value
    while current is not None:
        node = current.producer()
        if node is None or node.op_type not in _MOVES:
            break
        current = node.inputs[0]
    if current is None or current is value or current.shape is None or len(current.shape) != 3:
        return None
    return current if isinstance(current.shape[2], int) else None


def _first(
    graph: ir.Graph, source: ir.Value, value: ir.Value, heads: int, width: int
) -> int | None:
    """Where in `source` the heads begin; None when they do not stand there one after the other."""
    assert source.shape is not None
    total = source.shape[2]
    assert isinstance(total, int)
    session = session_of(graph, list(dict.fromkeys([*graph.inputs, source])), [value])
    found = set()
    for batch, tokens in _SHAPES:
        feeds = {i.name: np.zeros((batch, tokens), np.int64) for i in session.get_inputs()}
        numbers = np.arange(batch * tokens * total, dtype=np.float32).reshape(batch, tokens, total)
        (moved,) = session.run(None, {**feeds, source.name: numbers})
        first = int(moved.flat[0])
        expected = numbers[:, :, first : first + heads * width]
        if expected.shape[2] != heads * width:
            return None
        expected = expected.reshape(batch, tokens, heads, width).transpose(0, 2, 1, 3)
        if not np.array_equal(moved, expected):
            return None
        found.add(first)
    return found.pop() if len(found) == 1 else None
