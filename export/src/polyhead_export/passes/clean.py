"""Removes what no output needs, and what is duplicated."""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as common

_ANY_SIZE = 2**31  # elements: more than a file of 2 GiB, the most that ONNX allows, has room for


def clean() -> ir.passes.Sequential:
    """onnx-ir's own passes: larger constants, identities, dead nodes and operator sets."""
    return ir.passes.Sequential(
        common.LiftConstantsToInitializersPass(),
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.TopologicalSortPass(),
    )


def deduplicated() -> ir.passes.Sequential:
    """onnx-ir's own passes: equal weights once, and what is computed from the same twice.

    For the last step before a graph is written: `Smooth` changes the weights of a linear, so before
    it each has its own. Outputs keep their names; of equal nodes the first keeps its own.
    """
    return ir.passes.Sequential(
        common.DeduplicateInitializersPass(size_limit=_ANY_SIZE),
        common.CommonSubexpressionEliminationPass(),
    )
