"""Attention from the 4-D form between transposes to the 3-D form.

before: x (batch, tokens, hidden) -> Reshape -> Transpose (batch, heads, tokens, width) -> Attention
        -> Transpose -> Reshape (batch, tokens, hidden)
after:  x (batch, tokens, hidden) -> Attention with q_num_heads and kv_num_heads
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

_SWAP = [0, 2, 1, 3]


class AttentionLayout(ir.passes.InPlacePass):
    """Rewrites every Attention whose neighbours have the form above; leaves the others.

    The nodes that fall out of use stay: run `clean` after it.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite."""
        modified = False
        for node in [n for n in model.graph if n.op_type == "Attention"]:
            modified |= _rewrite(model.graph, node)
        return ir.passes.PassResult(model, modified)

    def ensures(self, model: ir.Model) -> None:
        """No Attention whose result is read has the form above."""
        found = [(n.name, _split_attention(n)) for n in model.graph if n.op_type == "Attention"]
        if left := [name for name, form in found if form is not None and _is_read(form.merged)]:
            raise ir.passes.PostconditionError(f"left: {left}")


@dataclass(frozen=True)
class _SplitAttention:
    """An Attention between transposes.

    Attributes:
        split: the 3-D values behind queries, keys and values.
        merged: the 3-D result.
        heads: number of heads of the queries.
        key_heads: number of heads of keys and values.
    """

    split: list[ir.Value | None]
    merged: ir.Value
    heads: int
    key_heads: int


def _split_attention(node: ir.Node) -> _SplitAttention | None:
    split = [unsplit(value) for value in node.inputs[:3]]
    merged = _merge(node.outputs[0])
    heads, key_heads = (_heads(value) for value in node.inputs[:2])
    if merged is None or None in split or heads is None or key_heads is None:
        return None
    return _SplitAttention(split, merged, heads, key_heads)


def _is_read(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    if (form := _split_attention(node)) is None:
        return False
    merged = form.merged
    attributes = {
        **node.attributes,
        "q_num_heads": ir.AttrInt64("q_num_heads", form.heads),
        "kv_num_heads": ir.AttrInt64("kv_num_heads", form.key_heads),
    }
    flat = ir.Node(
        "",
        "Attention",
        [*form.split, *node.inputs[3:]],
        attributes=attributes.values(),
        name=node.name,
        outputs=[
            ir.Value(
                name=merged.name,
                type=merged.type,
                shape=merged.shape,
            )
        ],
    )
    ir.convenience.replace_nodes_and_values(graph, node, [], [flat], [merged], [flat.outputs[0]])
    return True


def unsplit(value: ir.Value | None) -> ir.Value | None:
    """The 3-D value behind Transpose(Reshape(x)), or None where there is none."""
    transpose = value.producer() if value is not None else None
    if value is None or transpose is None or not _swaps(transpose) or transpose.inputs[0] is None:
        return None
    reshape = transpose.inputs[0].producer()
    if reshape is None or reshape.op_type != "Reshape":
        return None
    flat = reshape.inputs[0]
    return flat if _joins(value, flat) else None


def _merge(value: ir.Value) -> ir.Value | None:
    """The 3-D value in front of Reshape(Transpose(y)), when nothing else reads y."""
    uses = tuple(value.uses())
    if len(uses) != 1 or not _swaps(uses[0].node):
        return None
    uses = tuple(uses[0].node.outputs[0].uses())
    if len(uses) != 1 or uses[0].node.op_type != "Reshape":
        return None
    merged: ir.Value = uses[0].node.outputs[0]
    return merged if _joins(value, merged) else None


def _swaps(node: ir.Node) -> bool:
    permutation = node.attributes.get("perm")
    return (
        node.op_type == "Transpose"
        and permutation is not None
        and list(permutation.as_ints()) == _SWAP
    )


def _joins(split: ir.Value, flat: ir.Value | None) -> bool:
    """Is `flat` (batch, tokens, heads * width), with `split` (batch, heads, tokens, width)?"""
    if flat is None or flat.shape is None or split.shape is None:
        return False
    if (len(flat.shape), len(split.shape)) != (3, 4):
        return False
    heads, width = split.shape[1], split.shape[3]
    known = isinstance(heads, int) and isinstance(width, int)
    return known and flat.shape[2] == heads * width


def _heads(value: ir.Value | None) -> int | None:
    shape = value.shape if value is not None else None
    return shape[1] if shape is not None and len(shape) == 4 and isinstance(shape[1], int) else None
