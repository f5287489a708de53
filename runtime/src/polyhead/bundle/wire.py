"""The protobuf wire format, as much of it as reading and changing an ONNX graph takes.

The `onnx` package is not among the runtime's dependencies. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

from polyhead.errors import GraphError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MODEL_GRAPH, MODEL_OPSET = 7, 8
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_OUTPUT = 1, 5, 12
FLOAT, INT64 = 1, 7
"""Types of a tensor's elements."""


def fields(message: memoryview, name: str) -> Iterator[tuple[int, int, int | memoryview]]:
    """Number, wire type and value of each field of a message.

    Raises:
        GraphError: when it is no protobuf message, or cut short; names the file `name`.
    """
    position = 0
    while position < len(message):
        tag, position = read_varint(message, position, name)
        field, wire = tag >> 3, tag & 7
        value: int | memoryview
        if wire == VARINT:
            value, position = read_varint(message, position, name)
        elif wire == BYTES:
            length, position = read_varint(message, position, name)
            value, position = message[position : position + length], position + length
        elif wire in (FIXED64, FIXED32):
            width = 8 if wire == FIXED64 else 4
            value, position = message[position : position + width], position + width
        else:
            raise GraphError(f"{name}: not an ONNX file (wire type {wire}).")
        if position > len(message) or not 0 < field < 1 << 29:
            raise GraphError(f"{name}: not an ONNX file, or cut short.")
        yield field, wire, value


def read_varint(message: memoryview, position: int, name: str) -> tuple[int, int]:
    """A whole number, and the position behind it."""
    value = shift = 0
    while True:
        if position >= len(message) or shift > 63:
            raise GraphError(f"{name}: not an ONNX file, or cut short.")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def children(content: memoryview, field: int, name: str) -> Iterator[memoryview]:
    """The messages in one field."""
    for found, _, value in fields(content, name):
        if found == field and isinstance(value, memoryview):
            yield value


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


def opening(field: int, length: int) -> bytes:
    """What stands before the `length` bytes of a field."""
    return varint(field << 3 | BYTES) + varint(length)


def message(field: int, content: bytes | str) -> bytes:
    """A field that holds bytes, a text or another message."""
    content = content.encode() if isinstance(content, str) else content
    return opening(field, len(content)) + content


def raw(field: int, wire: int, value: int | memoryview) -> bytes:
    """A field as `fields` gave it."""
    if isinstance(value, int):
        return number(field, value)
    if wire == BYTES:
        return message(field, bytes(value))
    return varint(field << 3 | wire) + bytes(value)
