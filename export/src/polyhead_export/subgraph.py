"""What passes share: constants and nodes that they add, values that they compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from polyhead.inference.options import cpu_session_options
from polyhead.system.onnx_runtime import ort

_IR_VERSION = 10


def add_constant(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """A new initializer of `graph` with the values and dtype of `array`; `name` must be free."""
    value = ir.Value(name=name, const_value=ir.tensor(array))
    graph.register_initializer(value)
    return value


def first_rows(graph: ir.Graph, table: ir.Value, length: ir.Value, *, name: str) -> ir.Node:
    """A node that gives as many rows of a table `(1, rows, …)` as there are tokens."""
    start = add_constant(graph, f"{name}/start", np.zeros(1, np.int64))
    axis = add_constant(graph, f"{name}/axis", np.ones(1, np.int64))
    return ir.node("Slice", [table, start, length, axis], name=f"{name}/Slice")


def put_in_place(
    graph: ir.Graph, old: ir.Value, nodes: Sequence[ir.Node], *, remove: Sequence[ir.Node] = ()
) -> None:
    """Insert nodes where a value is computed; what the last gives takes its place and its name."""
    (new,), producer = nodes[-1].outputs, old.producer()
    assert producer is not None
    new.name, new.type, new.shape = old.name, old.type, old.shape
    ir.convenience.replace_nodes_and_values(graph, producer, remove, nodes, [old], [new])


def session_of(
    graph: ir.Graph, inputs: Sequence[ir.Value], values: Sequence[ir.Value]
) -> ort.InferenceSession:
    """A session on the CPU that computes `values` of a sorted graph from `inputs`."""
    part = ir.convenience.extract(graph, list(inputs), list(values))
    part.opset_imports.update(graph.opset_imports)
    content = ir.to_proto(ir.Model(part, ir_version=_IR_VERSION)).SerializeToString()
    options = cpu_session_options(intra_op_threads=0)
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def shape_only(graph: ir.Graph) -> set[ir.Value]:
    """Values that are computed from the shapes of inputs and from constants alone."""
    found: set[ir.Value] = set()
    for node in graph:
        known = all(v is None or v in found or v.is_initializer() for v in node.inputs)
        if node.op_type == "Shape" or known:
            found.update(node.outputs)
    return found


def require_token_inputs(graph: ir.Graph) -> None:
    """What `evaluate` takes for granted.

    Raises:
        PreconditionError: when an input is not int64 `(batch, tokens)`.
    """
    wrong = [
        value.name
        for value in graph.inputs
        if value.dtype != ir.DataType.INT64 or value.shape is None or len(value.shape) != 2
    ]
    if wrong:
        raise ir.passes.PreconditionError(f"inputs that are not int64 (batch, tokens): {wrong}")


def evaluate(
    graph: ir.Graph, values: Sequence[ir.Value], shapes: Sequence[tuple[int, int]]
) -> list[list[NDArray[Any]]]:
    """Compute shape-only values.

    Args:
        graph: a sorted graph whose inputs are int64 `(batch, tokens)`.
        values: what to compute.
        shapes: `(batch, tokens)` pairs.

    Returns:
        For each shape, one array a value.
    """
    if not values:
        return [[] for _ in shapes]
    session = session_of(graph, graph.inputs, values)
    names = [value.name for value in values]
    return [
        session.run(names, {i.name: np.zeros(shape, np.int64) for i in session.get_inputs()})
        for shape in shapes
    ]
