"""Messages of onnx.proto, written: nodes, tensors, values, and a model with other outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.wire import (
    FLOAT,
    GRAPH_INITIALIZER,
    GRAPH_NODE,
    GRAPH_OUTPUT,
    INT64,
    MODEL_GRAPH,
    fields,
    message,
    number,
    raw,
)


def node(kind: str, inputs: list[str], output: str, **attributes: int | list[int]) -> bytes:
    """A NodeProto with one output and whole numbers as attributes."""
    parts = [message(1, name) for name in inputs]
    parts += [message(2, output), message(3, f"polyhead/{output}"), message(4, kind)]
    for name, value in attributes.items():
        if isinstance(value, int):
            parts.append(message(5, message(1, name) + number(3, value) + number(20, 2)))
        else:
            items = b"".join(number(8, each) for each in value)
            parts.append(message(5, message(1, name) + items + number(20, 7)))
    return b"".join(parts)


def tensor(name: str, array: NDArray[np.float32] | NDArray[np.int64]) -> bytes:
    """A TensorProto."""
    kind = FLOAT if array.dtype == np.float32 else INT64
    sizes = b"".join(number(1, size) for size in array.shape)
    return sizes + number(2, kind) + message(8, name) + message(9, array.tobytes())


def tensor_value(name: str | bytes, kind: int, shape: Sequence[int | str | None]) -> bytes:
    """A ValueInfoProto of a tensor.

    Args:
        name: of the value.
        kind: of its elements.
        shape: its sizes; a text is one that the caller chooses, None one of which nothing is said.
    """
    sizes = b"".join(message(1, _size(size)) for size in shape)
    return message(1, name) + message(2, message(1, number(1, kind) + message(2, sizes)))


def _size(size: int | str | None) -> bytes:
    if size is None:
        return b""
    return number(1, size) if isinstance(size, int) else message(2, size)


def with_outputs(
    content: bytes,
    nodes: list[bytes],
    constants: Mapping[str, NDArray[np.float32] | NDArray[np.int64]],
    outputs: list[bytes],
    name: str,
) -> bytes:
    """A ModelProto with nodes at the end of its graph, and other outputs.

    Args:
        content: the model.
        nodes: in an order in which they can be computed.
        constants: new initializers by name.
        outputs: in place of all that the graph has.
        name: of the file, for messages.

    Raises:
        GraphError: when it is no protobuf message.
    """
    model = bytearray()
    for field, wire, value in fields(memoryview(content), name):
        if field == MODEL_GRAPH and isinstance(value, memoryview):
            graph = _kept(value, {GRAPH_OUTPUT}, name)
            graph += b"".join(message(GRAPH_NODE, each) for each in nodes)
            graph += b"".join(
                message(GRAPH_INITIALIZER, tensor(key, array)) for key, array in constants.items()
            )
            graph += b"".join(message(GRAPH_OUTPUT, each) for each in outputs)
            model += message(MODEL_GRAPH, bytes(graph))
        else:
            model += raw(field, wire, value)
    return bytes(model)


def _kept(content: memoryview, without: set[int], name: str) -> bytearray:
    found = bytearray()
    for field, wire, value in fields(content, name):
        if field not in without:
            found += raw(field, wire, value)
    return found
