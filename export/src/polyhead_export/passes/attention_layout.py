"""Attention from the 4-D form between transposes to the 3-D form.

before: x (batch, tokens, hidden) -> Reshape -> Transpose (batch, heads, tokens, width) -> Attention
        -> Transpose -> Reshape (batch, tokens, hidden)
after:  x (batch, tokens, hidden) -> Attention with q_num_heads and kv_num_heads
"""

from __future__ import annotations

import onnx_ir as ir

from polyhead_export.subgraph import put_in_place

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
        if left := [name for name, form in found if form is not None and _is_read(form[1])]:
            raise ir.passes.PostconditionError(f"left: {left}")


def _split_attention(
    node: ir.Node,
) -> tuple[list[ir.Value | None], ir.Value, int, int] | None:
    """The 3-D queries, keys and values of an Attention between transposes, and its 3-D result.

    With the number of heads of the queries, and of keys and values.
    """
    split = [unsplit(value) for value in node.inputs[:3]]
    merged = _merge(node.outputs[0])
    sizes, key_sizes = (head_sizes(value) for value in node.inputs[:2])
    if merged is None or None in split or sizes is None or key_sizes is None:
        return None
    return split, merged, sizes[0], key_sizes[0]


def _is_read(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    if (form := _split_attention(node)) is None:
        return False
    split, merged, heads, key_heads = form
    attributes = {
        **node.attributes,
        "q_num_heads": ir.AttrInt64("q_num_heads", heads),
        "kv_num_heads": ir.AttrInt64("kv_num_heads", key_heads),
    }
    inputs = [*split, *node.inputs[3:]]
    flat = ir.Node("", "Attention", inputs, attributes=attributes.values(), name=node.name)
    put_in_place(graph, merged, [flat])
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
    sizes = head_sizes(split)
    if sizes is None or flat is None or flat.shape is None or len(flat.shape) != 3:
        return False
    return flat.shape[2] == sizes[0] * sizes[1]


def head_sizes(value: ir.Value | None) -> tuple[int, int] | None:
    """Number of heads and their width, of `(batch, heads, tokens, width)`."""
    if value is None or value.shape is None or len(value.shape) != 4:
        return None
    heads, width = value.shape[1], value.shape[3]
    return (heads, width) if isinstance(heads, int) and isinstance(width, int) else None
