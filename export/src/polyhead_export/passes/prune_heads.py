"""A graph down to some of its heads, and so to the deepest layer that they read.

before: x -> layer 1 -> layer 2 -> … -> layer 6 -> logits/slots, and layer 2 -> logits/intent
after:  x -> layer 1 -> layer 2 -> logits/intent

What is left computes the same numbers with the same operators, whatever their precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import onnx_ir.passes.common as common


class PruneHeads(ir.passes.InPlacePass):
    """Keeps the outputs that are named, in their order, and what they need. Inputs stay."""

    def __init__(self, outputs: Sequence[str]) -> None:
        """Keep `outputs`, such as ``"logits/intent"``; at least one."""
        self._outputs = list(outputs)

    def requires(self, model: ir.Model) -> None:
        """The graph has every output that is to be kept."""
        known = {value.name for value in model.graph.outputs}
        if not self._outputs or (missing := [n for n in self._outputs if n not in known]):
            raise ir.passes.PreconditionError(
                f"outputs to keep: {missing if self._outputs else 'none'}; the graph has"
                f" {sorted(map(str, known))}"
            )

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Drop the other outputs, and the nodes and weights that only they needed."""
        by_name = {value.name: value for value in model.graph.outputs}
        before = len(by_name)
        model.graph.outputs[:] = [by_name[name] for name in self._outputs]
        cleaned = common.RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, bool(cleaned.modified) or before != len(self._outputs))

    def ensures(self, model: ir.Model) -> None:
        """The outputs are those asked for, and nothing is left that none of them needs."""
        names = [value.name for value in model.graph.outputs]
        idle = [
            node.name
            for node in model.graph
            if not any(value.uses() or value.is_graph_output() for value in node.outputs)
        ]
        if names != self._outputs or idle:
            raise ir.passes.PostconditionError(f"outputs {names}, of no use: {idle}")
