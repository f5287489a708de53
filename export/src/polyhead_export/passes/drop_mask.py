"""Takes the mask from Attention nodes when it masks nothing.

transformers builds a mask of ones even when none is given. It depends on the shape of the input
only, so it can be computed here: all ones (or, added to the scores, all zeros) means no mask.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from polyhead_export.shape_only import evaluate, shape_only

_MASK = 3


class DropMask(ir.passes.InPlacePass):
    """Requires the exact layout: every row of a batch has the same length."""

    def __init__(self, max_tokens: int) -> None:
        """Check masks up to `max_tokens` tokens."""
        self._shapes = [(1, 1), (2, 7), (1, max_tokens)]

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Drop every mask that is all ones at every checked shape."""
        candidates = shape_only(model.graph)
        masked = [n for n in model.graph if _mask(n) in candidates]
        masks = list(dict.fromkeys(mask for node in masked if (mask := _mask(node))))
        computed = evaluate(model.graph, masks, self._shapes)
        idle = {m for i, m in enumerate(masks) if all(_masks_nothing(row[i]) for row in computed)}
        modified = False
        for node in masked:
            if _mask(node) in idle:
                node.replace_input_with(_MASK, None)
                modified = True
        return ir.passes.PassResult(model, modified)


def _mask(node: ir.Node) -> ir.Value | None:
    if node.op_type != "Attention" or len(node.inputs) <= _MASK:
        return None
    return node.inputs[_MASK]


def _masks_nothing(mask: np.ndarray) -> bool:
    return bool(mask.all() if mask.dtype == np.bool_ else not mask.any())
