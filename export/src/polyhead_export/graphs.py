"""The graphs of a bundle: float as traced, and int8 for onnxruntime's CPU provider."""

from __future__ import annotations

import collections
from pathlib import Path

import onnx_ir as ir

from polyhead_export.errors import KNOWN, StructureError
from polyhead_export.passes.attention_layout import AttentionLayout
from polyhead_export.passes.clean import clean, deduplicated
from polyhead_export.passes.drop_mask import DropMask
from polyhead_export.passes.fold_attention_scale import FoldAttentionScale
from polyhead_export.passes.fold_constants import FoldConstants
from polyhead_export.passes.fold_positions import FoldPositions
from polyhead_export.passes.lower_ort_cpu import LowerToOrtCpu
from polyhead_export.passes.padding_mask import PaddingMask
from polyhead_export.passes.rotary_layout import RotaryLayout
from polyhead_export.passes.split_heads import SplitHeads
from polyhead_export.passes.stable_mean import StableMean
from polyhead_export.subgraph import shape_only
from polyhead_export.trace import trace
from polyhead_models.model import MultiHeadModel

# Each fused ONNX operator, and the ATen operator that it replaces.
_FUSED = {
    "Attention": "scaled_dot_product_attention",
    "LayerNormalization": "layer_norm",
    "Gelu": "gelu",
    "Softmax": "softmax",
}
_PRODUCTS = ("linear", "matmul", "bmm", "mm", "addmm")


def float_graph(model: MultiHeadModel, *, max_tokens: int, padded: bool = False) -> ir.Model:
    """Trace, fold, and check that every fused operator is there.

    Args:
        model: in evaluation mode.
        max_tokens: longest input.
        padded: in the padded layout, with the input ``attention_mask``; else in the exact one.

    Raises:
        TraceError: when the model cannot be traced.
        StructureError: when the graph does not have the operators that the model calls for.
    """
    traced = trace(model, padded=padded)
    graph = traced.model
    ir.passes.Sequential(
        clean(),
        FoldConstants(),
        PaddingMask() if padded else DropMask(max_tokens),
        SplitHeads(),
        clean(),
        RotaryLayout(max_tokens),
        AttentionLayout(),
        FoldPositions(max_tokens),
        clean(),
    )(graph)
    if not padded:
        FoldAttentionScale()(graph)
    check_operators(graph, traced.operators, padded=padded)
    if not padded:
        ir.passes.Sequential(StableMean(max_tokens), clean())(graph)
    return graph


def lowered(model: ir.Model) -> ir.Model:
    """A canonical int8 graph for onnxruntime's CPU provider; `model` is changed and returned."""
    ir.passes.Sequential(LowerToOrtCpu(), clean())(model)
    return model


def save(model: ir.Model, path: Path) -> None:
    """Write a graph with its weights in one file, nothing duplicated; `model` stays as it is."""
    once = ir.passes.functionalize(deduplicated())(model).model
    ir.save(once, path)


def check_operators(
    model: ir.Model, operators: collections.Counter[str], *, padded: bool = False
) -> None:
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
