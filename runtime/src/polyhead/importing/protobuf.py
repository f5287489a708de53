"""The protobuf wire format, as much of it as changing an ONNX graph takes.

The `onnx` package is not among the runtime's dependencies. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.onnx_scan import fields

MODEL_GRAPH, MODEL_OPSET = 7, 8
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_OUTPUT = 1, 5, 12
_FLOAT, _INT64 = 1, 7
_BYTES = 2


def varint(value: int) -> bytes:
    """A whole number of at least 0."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def number(field: int, value: int) -> bytes:
    """A field that holds a whole number; negative ones in 64 bits."""
    return varint(field << 3) + varint(value % 2**64)


def message(field: int, content: bytes | str) -> bytes:
    """A field that holds bytes, a text or another message."""
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | _BYTES) + varint(len(content)) + content


def children(content: memoryview, field: int, name: str) -> Iterator[memoryview]:
    """The messages in one field."""
    for found, _, value in fields(content, name):
        if found == field and isinstance(value, memoryview):
            yield value


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
    kind = _FLOAT if array.dtype == np.float32 else _INT64
    sizes = b"".join(number(1, size) for size in array.shape)
    return sizes + number(2, kind) + message(8, name) + message(9, array.tobytes())


def float_output(name: str, shape: tuple[int | str, ...]) -> bytes:
    """A ValueInfoProto of a float tensor; a text is a size that the caller chooses."""
    sizes = b"".join(
        message(1, number(1, size) if isinstance(size, int) else message(2, size)) for size in shape
    )
    return message(1, name) + message(2, message(1, number(1, _FLOAT) + message(2, sizes)))


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
            model += _raw(field, wire, value)
    return bytes(model)


def _kept(content: memoryview, without: set[int], name: str) -> bytearray:
    found = bytearray()
    for field, wire, value in fields(content, name):
        if field not in without:
            found += _raw(field, wire, value)
    return found


def _raw(field: int, wire: int, value: int | memoryview) -> bytes:
    if isinstance(value, int):
        return number(field, value)
    if wire == _BYTES:
        return message(field, bytes(value))
    return varint(field << 3 | wire) + bytes(value)
