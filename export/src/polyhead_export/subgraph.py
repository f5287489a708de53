"""A part of a graph, run by onnxruntime while the graph is being made."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import onnxruntime as ort

_QUIET = 3  # errors only: warnings are of nodes that fall out of use later
_IR_VERSION = 10


def session_of(
    graph: ir.Graph, inputs: Sequence[ir.Value], values: Sequence[ir.Value]
) -> ort.InferenceSession:
    """A session on the CPU that computes `values` of a sorted graph from `inputs`."""
    part = ir.convenience.extract(graph, list(inputs), list(values))
    part.opset_imports.update(graph.opset_imports)
    content = ir.to_proto(ir.Model(part, ir_version=_IR_VERSION)).SerializeToString()
    options = ort.SessionOptions()
    options.log_severity_level = _QUIET
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
