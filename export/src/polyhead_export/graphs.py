"""The graphs of a bundle: float as traced, and int8 for onnxruntime's CPU provider."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from polyhead_export import structure
from polyhead_export.passes import (
    AttentionLayout,
    DropMask,
    FoldAttentionScale,
    FoldConstants,
    FoldPositions,
    LowerToOrtCpu,
    PaddingMask,
    RotaryLayout,
    SplitHeads,
    StableMean,
    clean,
    deduplicated,
)
from polyhead_export.trace import trace
from polyhead_models.model import MultiHeadModel


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
    structure.check(graph, traced.operators, padded=padded)
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
