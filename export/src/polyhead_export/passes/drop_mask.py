"""Removes masks that mask nothing.

before: Attention(q, k, v, ones) · Where(none, lowest, scores) · Add(scores, zeros) · Mul(x, ones)
after:  Attention(q, k, v)       · scores                      · scores             · x

transformers builds a mask of ones even when none is given. It depends on the shape of the input
only, so it can be computed here. A mask that does mask something, as the window of ModernBERT's
local attention does in texts that are longer, stays.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from polyhead_export.passes.padding_mask import ATTENTION_MASK
from polyhead_export.subgraph import evaluate, shape_only

_MASK = 3


class DropMask(ir.passes.InPlacePass):
    """Requires the exact layout: every row of a batch has the same length, so no padding is masked.

    The nodes that fall out of use stay: run `clean` after it.
    """

    def __init__(self, max_tokens: int) -> None:
        """Check masks up to `max_tokens` tokens."""
        self._shapes = [(1, 1), (2, 7), (1, max_tokens)]

    def requires(self, model: ir.Model) -> None:
        """The graph knows of no padding; `PaddingMask` is the pass for one that is."""
        if ATTENTION_MASK in (value.name for value in model.graph.inputs):
            raise ir.passes.PreconditionError(f"has the input {ATTENTION_MASK!r}")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Drop every mask that masks nothing at every checked shape."""
        known = shape_only(model.graph)
        masked = [(n, i) for n in model.graph if (i := _mask(n, known)) is not None]
        masks = list(dict.fromkeys(mask for node, i in masked if (mask := node.inputs[i])))
        computed = evaluate(model.graph, masks, self._shapes)
        found = {mask: [row[i] for row in computed] for i, mask in enumerate(masks)}
        modified = False
        for node, index in masked:
            mask = node.inputs[index]
            if mask is not None:
                modified |= _drop(node, index, found[mask])
        return ir.passes.PassResult(model, modified)


def _mask(node: ir.Node, known: set[ir.Value]) -> int | None:
    """Which input is a mask that depends on the shape only."""
    if node.op_type == "Attention" and len(node.inputs) > _MASK:
        return _MASK if node.inputs[_MASK] in known else None
    if node.outputs[0] in known:
        return None
    if node.op_type == "Where":
        return 0 if node.inputs[0] in known else None
    if node.op_type in ("Add", "Mul"):
        return next((i for i, value in enumerate(node.inputs) if value in known), None)
    return None


def _drop(node: ir.Node, index: int, masks: list[NDArray[np.generic]]) -> bool:
    if node.op_type == "Attention":
        if not all(mask.all() if mask.dtype == np.bool_ else not mask.any() for mask in masks):
            return False
        node.replace_input_with(index, None)
        return True
    if node.op_type == "Where":
        chosen = {bool(mask.flat[0]) for mask in masks}
        if len(chosen) > 1 or not all((mask == mask.flat[0]).all() for mask in masks):
            return False
        kept = node.inputs[1 if chosen.pop() else 2]
    else:
        neutral = 0 if node.op_type == "Add" else 1
        if not all((mask == neutral).all() for mask in masks):
            return False
        kept = node.inputs[1 - index]
    if kept is None or kept.shape is None or kept.shape != node.outputs[0].shape:
        return False  # it would have been made larger
    ir.convenience.replace_all_uses_with(node.outputs[0], kept)
    return True
