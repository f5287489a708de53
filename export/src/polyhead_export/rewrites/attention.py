"""ONNX Attention without a mask, and what else gives the same numbers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from polyhead_export.initializer import add_constant
from polyhead_export.rewrites.replacement import MICROSOFT, of_type, replace

_ORDERS = ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))  # of queries, keys and values


def multi_head(graph: ir.Graph) -> int:
    """Turn Attention into MultiHeadAttention; gives their number."""
    nodes = _plain(graph)
    for node in nodes:
        attributes: dict[str, int | float] = {"num_heads": _heads(node)}
        if "scale" in node.attributes:
            attributes["scale"] = node.attributes["scale"].as_float()
        fused = ir.node("MultiHeadAttention", node.inputs[:3], attributes, domain=MICROSOFT)
        replace(graph, [node], [fused])
    return len(nodes)


def decompose(graph: ir.Graph) -> int:
    """Turn Attention into two products and a softmax; gives their number."""
    nodes = [node for node in _plain(graph) if _scale(node) is not None]
    for index, node in enumerate(nodes):
        shape = np.array([0, 0, _heads(node), -1], np.int64)
        split = add_constant(graph, f"layout/split/{index}", shape)
        joined = add_constant(graph, f"layout/join/{index}", np.array([0, 0, -1], np.int64))
        factor = np.array(_scale(node), np.float32)
        scale = add_constant(graph, f"layout/scale/{index}", factor)
        chain: list[ir.Node] = []
        turned = []
        # (batch, tokens, hidden) to (batch, heads, tokens, size), the keys with tokens last
        for value, order in zip(node.inputs[:3], _ORDERS, strict=True):
            reshape = ir.node("Reshape", [value, split])
            transpose = ir.node("Transpose", [reshape.outputs[0]], {"perm": list(order)})
            chain += [reshape, transpose]
            turned.append(transpose.outputs[0])
        scaled = ir.node("Mul", [turned[0], scale])
        scores = ir.node("MatMul", [scaled.outputs[0], turned[1]])
        weights = ir.node("Softmax", [scores.outputs[0]], {"axis": -1})
        mixed = ir.node("MatMul", [weights.outputs[0], turned[2]])
        back = ir.node("Transpose", [mixed.outputs[0]], {"perm": [0, 2, 1, 3]})
        whole = ir.node("Reshape", [back.outputs[0], joined])
        replace(graph, [node], [*chain, scaled, scores, weights, mixed, back, whole])
    return len(nodes)


def _plain(graph: ir.Graph) -> list[ir.Node]:
    """Attention in the 3-D form, without mask or cache, with as many keys as queries."""
    return [
        node
        for node in of_type(graph, "Attention")
        if node.domain == ""
        and not any(node.inputs[3:])
        and "q_num_heads" in node.attributes
        and node.attributes.get_int("kv_num_heads", 0) == _heads(node)
        and not node.attributes.get_int("is_causal", 0)
        and not node.attributes.get_float("softcap", 0.0)
    ]


def _heads(node: ir.Node) -> int:
    return node.attributes["q_num_heads"].as_int()


def _scale(node: ir.Node) -> float | None:
    """Its scale; None where the graph does not tell the size of a head."""
    if "scale" in node.attributes:
        return node.attributes["scale"].as_float()
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    hidden = shape[-1] if shape is not None else None
    return (hidden / _heads(node)) ** -0.5 if isinstance(hidden, int) else None
