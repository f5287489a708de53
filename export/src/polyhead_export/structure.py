"""Has the graph the fused operators that the traced program calls for?"""

from __future__ import annotations

import collections

import onnx_ir as ir

from polyhead_export.errors import KNOWN, StructureError
from polyhead_export.subgraph import shape_only

# Each fused ONNX operator, and the ATen operator that it replaces.
_FUSED = {
    "Attention": "scaled_dot_product_attention",
    "LayerNormalization": "layer_norm",
    "Gelu": "gelu",
    "Softmax": "softmax",
}
_PRODUCTS = ("linear", "matmul", "bmm", "mm", "addmm")


def check(model: ir.Model, operators: collections.Counter[str], *, padded: bool = False) -> None:
    """Hold the nodes of a traced float graph against the program.

    Args:
        model: after the passes that do not depend on precision.
        operators: calls of the traced program, see `polyhead_export.trace.Traced`.
        padded: whether the graph has a mask of padded rows, as the exact layout must not.

    Raises:
        StructureError: when an operator is missing or there are too many of it, or an Attention has
            the 4-D form or a mask that depends on the tokens: such a graph would be slow, or wrong
            for texts without padding. The mask of a window, which only texts that are longer than
            it need, may stay.
    """
    counts = collections.Counter(node.op_type for node in model.graph)
    problems = [
        f"{counts[onnx]} {onnx}, expected {operators[aten]}"
        for onnx, aten in _FUSED.items()
        if counts[onnx] != operators[aten]
    ]
    products = sum(operators[name] for name in _PRODUCTS)
    if counts["MatMul"] + counts["Gemm"] != products:
        problems.append(f"{counts['MatMul'] + counts['Gemm']} MatMul and Gemm, expected {products}")
    attention = [node for node in model.graph if node.op_type == "Attention"]
    windows = shape_only(model.graph)
    masked = [n for n in attention if len(n.inputs) > 3 and n.inputs[3] is not None]
    unknown = [n.name for n in masked if n.inputs[3] not in windows]
    if unknown and not padded:
        problems.append(f"a mask that depends on the tokens at {unknown[0]}")
    if split := [n.name for n in attention if "q_num_heads" not in n.attributes]:
        problems.append(f"attention in the 4-D form at {split[0]}")
    if problems:
        raise StructureError(
            f"the traced graph is not as the model calls for: {'; '.join(problems)}. This encoder"
            f" family is not supported yet; these are: {KNOWN}."
        )
