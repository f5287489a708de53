"""Takes out what no output needs, and what stands twice."""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as common


def clean() -> ir.passes.Sequential:
    """onnx-ir's own passes: larger constants, identities, dead nodes and operator sets."""
    return ir.passes.Sequential(
        common.LiftConstantsToInitializersPass(),
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.TopologicalSortPass(),
    )
