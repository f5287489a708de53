"""The graphs of a bundle: float as traced, and int8 for onnxruntime's CPU provider."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class FloatGraph:
    """The float graph in the exact layout.

    Attributes:
        model: the graph.
        nodes: number of nodes by operator.
    """

    model: ir.Model
    nodes: dict[str, int]


def float_graph(model: MultiHeadModel, *, max_tokens: int) -> FloatGraph:
    """Trace, fold, and check that every fused operator is there.

    Raises:
        TraceError: when the model cannot be traced.
        StructureError: when the graph does not have the operators that the model calls for.
    """
    traced = trace(model)
    passes = ir.passes.Sequential(
        clean(),
        FoldConstants(),
        DropMask(max_tokens),
        SplitHeads(),
        clean(),
        RotaryLayout(max_tokens),
        AttentionLayout(),
        FoldPositions(max_tokens),
        clean(),
        FoldAttentionScale(),
    )
    passes(traced.model)
    nodes = structure.check(traced.model, traced.operators)
    ir.passes.Sequential(StableMean(max_tokens), clean())(traced.model)
    return FloatGraph(traced.model, nodes)


def padded_graph(model: MultiHeadModel, *, max_tokens: int) -> FloatGraph:
    """The float graph in the padded layout: with the input ``attention_mask``.

    Raises what `float_graph` raises.
    """
    traced = trace(model, padded=True)
    passes = ir.passes.Sequential(
        clean(),
        FoldConstants(),
        PaddingMask(),
        SplitHeads(),
        clean(),
        RotaryLayout(max_tokens),
        AttentionLayout(),
        FoldPositions(max_tokens),
        clean(),
    )
    passes(traced.model)
    return FloatGraph(traced.model, structure.check(traced.model, traced.operators, padded=True))


def lowered(model: ir.Model) -> ir.Model:
    """A canonical int8 graph for onnxruntime's CPU provider; `model` is changed and returned."""
    ir.passes.Sequential(LowerToOrtCpu(), clean())(model)
    return model


def save(model: ir.Model, path: Path) -> None:
    """Write a graph with its weights in one file, nothing duplicated; `model` stays as it is."""
    once = ir.passes.functionalize(deduplicated())(model).model
    ir.save(once, path)
