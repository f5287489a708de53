"""Each pattern of the `ort-cpu` graph in other operators of onnxruntime, one file a pattern."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from polyhead_export.layout import Layout, Pattern
from polyhead_export.passes.clean import clean
from polyhead_export.rewrites import attention, gelu, linear, norm


@dataclass(frozen=True)
class Alternative:
    """Operators that can stand for a pattern.

    Attributes:
        name: as the tables show it.
        rewrite: from the plain form, in place; gives how often. None is the plain form itself.
        exact: whether it computes the same function, apart from rounding.
        keep_out: onnxruntime's own optimisers that would turn it into something else. The runtime
            does not switch them off, so such an alternative is timed but not written.
    """

    name: str
    rewrite: Callable[[ir.Graph], int] | None = None
    exact: bool = True
    keep_out: tuple[str, ...] = ()

    @property
    def writable(self) -> bool:
        """Whether the runtime would run it as it is written, with the same answers."""
        return self.exact and not self.keep_out


_GELU = ("GeluFusionL1", "GeluFusionL2", "BiasGeluFusion", "FastGeluFusion")
_NORM = ("LayerNormFusionL1", "LayerNormFusionL2", "LayerNormFusion", "SkipLayerNormFusion")

ALTERNATIVES: dict[Pattern, tuple[Alternative, ...]] = {
    "norm": (
        Alternative("Add + LayerNormalization"),
        Alternative("SkipLayerNormalization", norm.skip),
        Alternative("decomposed", norm.decompose, keep_out=_NORM),
    ),
    "gelu": (
        Alternative("Gelu"),
        Alternative("Gelu of com.microsoft", gelu.microsoft),
        Alternative("BiasGelu", gelu.bias_gelu),
        Alternative("FastGelu", gelu.fast_gelu, exact=False),
        Alternative("decomposed", gelu.decompose, keep_out=_GELU),
    ),
    "attention": (
        Alternative("Attention"),
        Alternative("MultiHeadAttention", attention.multi_head),
        Alternative("decomposed", attention.decompose),
    ),
    "linear": (
        Alternative("MatMulIntegerToFloat"),
        Alternative("QDQ, fused at load", linear.pairs),
        Alternative("DynamicQuantizeMatMul", linear.dynamic, exact=False),
        Alternative("MatMul, fp32", linear.floating, exact=False),
    ),
}
"""By pattern; the first of each is the plain form, which `LowerToOrtCpu` starts from."""


def find(pattern: Pattern, name: str) -> Alternative:
    """An alternative by its name.

    Raises:
        ValueError: when there is none.
    """
    known = {a.name: a for a in ALTERNATIVES[pattern]}
    if name not in known:
        raise ValueError(f"{pattern}: found {name!r}, expected one of {sorted(known)}.")
    return known[name]


def apply(model: ir.Model, layout: Layout) -> bool:
    """Turn the plain forms into those of a layout, in place; gives whether anything changed."""
    changed = 0
    # The linears last: the others look for their bias.
    for pattern in ALTERNATIVES:
        if (rewrite := find(pattern, layout.choice(pattern)).rewrite) is not None:
            changed += rewrite(model.graph)
    if changed:
        clean()(model)
    return changed > 0
