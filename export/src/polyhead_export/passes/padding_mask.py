"""The mask of padded rows, computed once, in the form that onnxruntime's Attention reads.

before: Attention(q, k, v, <a dozen nodes that spread attention_mask over the queries>)
after:  Attention(q, k, v, mask), with mask (batch, 1, tokens, tokens) = attention_mask as bool

Families and releases of transformers write the mask in different ways, as bool or as numbers that
are added to the scores. What counts is its value: it is computed for a few paddings, and replaced
where it is nothing but the padding. Masks that say more, such as a sliding window, stay.

The mask has a row for every query, since onnxruntime 1.32 refuses (batch, 1, 1, tokens) on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from polyhead_export.subgraph import add_constant, session_of

ATTENTION_MASK = "attention_mask"

_MASK = 3
_HIDES = -1e4
_LENGTHS = [(1,), (3, 7), (5, 2, 5)]


class PaddingMask(ir.passes.InPlacePass):
    """Requires the int64 input `attention_mask` `(batch, tokens)`, 1 for tokens, 0 for padding.

    The nodes that fall out of use stay: run `clean` after it.
    """

    def requires(self, model: ir.Model) -> None:
        """The graph reads a mask."""
        if _input(model.graph) is None:
            raise ir.passes.PreconditionError(f"no input {ATTENTION_MASK!r}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace the masks that are nothing but the padding."""
        graph = model.graph
        attention = [node for node in graph if _mask(node) is not None]
        masks = list(dict.fromkeys(mask for node in attention if (mask := _mask(node))))
        plain = _plain(graph, masks)
        rewritten = [node for node in attention if _mask(node) in plain]
        if rewritten:
            mask = _add_mask(graph)
            for node in rewritten:
                node.replace_input_with(_MASK, mask)
        return ir.passes.PassResult(model, bool(rewritten))


def _input(graph: ir.Graph) -> ir.Value | None:
    return next((value for value in graph.inputs if value.name == ATTENTION_MASK), None)


def _mask(node: ir.Node) -> ir.Value | None:
    if node.op_type != "Attention" or len(node.inputs) <= _MASK:
        return None
    return node.inputs[_MASK]


def _plain(graph: ir.Graph, masks: Sequence[ir.Value]) -> set[ir.Value]:
    """The masks that hide padding and nothing else."""
    if not masks:
        return set()
    session = session_of(graph, graph.inputs, masks)
    found = set(masks)
    for lengths in _LENGTHS:
        padding = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
        feeds = {node.name: np.zeros_like(padding) for node in session.get_inputs()}
        feeds[ATTENTION_MASK] = padding
        arrays = session.run([mask.name for mask in masks], feeds)
        found -= {m for m, a in zip(masks, arrays, strict=True) if not _is_padding(a, padding)}
    return found


def _is_padding(mask: NDArray[np.generic], padding: NDArray[np.int64]) -> bool:
    rows, tokens = padding.shape
    if mask.ndim != 4:
        return False
    try:
        whole = np.broadcast_to(mask, (rows, mask.shape[1], tokens, tokens))
    except ValueError:
        return False
    seen = np.broadcast_to((padding == 1)[:, None, None, :], whole.shape)
    if mask.dtype == np.bool_:
        return bool((whole == seen).all())
    return bool((whole[seen] == 0).all() and (whole[~seen] <= _HIDES).all())


def _add_mask(graph: ir.Graph) -> ir.Value:
    """The mask as bool `(batch, 1, tokens, tokens)`, at the head of the graph."""
    given = _input(graph)
    axes = add_constant(graph, "mask/axes", np.array([1, 2], np.int64))
    one = add_constant(graph, "mask/one", np.array([1], np.int64))
    cast = ir.node("Cast", [given], {"to": ir.DataType.BOOL}, name="mask/Cast")
    row = ir.node("Unsqueeze", [cast.outputs[0], axes], name="mask/Unsqueeze")
    tokens = ir.node("Shape", [given], {"start": 1, "end": 2}, name="mask/Shape")
    shape = ir.node("Concat", [one, one, tokens.outputs[0], one], {"axis": 0}, name="mask/Concat")
    whole = ir.node("Expand", [row.outputs[0], shape.outputs[0]], name="mask/Expand")
    nodes = [cast, row, tokens, shape, whole]
    graph.insert_before(graph[0], nodes)
    whole.outputs[0].dtype = ir.DataType.BOOL
    return whole.outputs[0]
