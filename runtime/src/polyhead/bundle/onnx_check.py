"""Reads just enough of an ONNX file to refuse what the runtime must not load.

A graph may point at files outside itself (external data) or at operators that another library has
to bring. Both are found by walking the protobuf wire format in place, without the `onnx` package
and without a copy of the weights: the field numbers are those of onnx.proto (ModelProto,
GraphProto, NodeProto, AttributeProto, TensorProto).
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

from polyhead.errors import GraphError

ALLOWED_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protobuf
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_TENSOR, _SPARSE = "tensor", "sparse"
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 25: "function"},
    "graph": {1: "node", 5: _TENSOR, 15: _SPARSE},
    "function": {7: "node", 9: "opset", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: _TENSOR, 6: "graph", 10: _TENSOR, 11: "graph", 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {},
    "opset": {},
}
_DOMAIN_FIELD = {"node": 7, "opset": 1}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DEPTH = 32


def check_onnx(content: bytes | mmap, name: str) -> None:
    """Check a serialised ModelProto.

    Args:
        content: the whole file.
        name: what to call it in messages.

    Raises:
        GraphError: when it is no protobuf message, has tensors in external files, or uses an
            operator domain other than ONNX's own and ``com.microsoft``.
    """
    if not content:
        raise GraphError(f"{name}: empty, expected an ONNX model.")
    _walk(memoryview(content), "model", name, 0)


def _walk(message: memoryview, kind: str, name: str, depth: int) -> None:
    if depth > _DEPTH:
        raise GraphError(f"{name}: graphs are nested deeper than {_DEPTH} levels.")
    for field, value in _fields(message, name):
        if kind == _TENSOR and (
            field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0)
        ):
            raise GraphError(
                f"{name}: a tensor lies in an external file. Expected all weights inside the"
                " graph; export the bundle again."
            )
        if not isinstance(value, memoryview):
            continue
        if field == _DOMAIN_FIELD.get(kind):
            _check_domain(bytes(value), name)
        if (child := _CHILDREN[kind].get(field)) is not None:
            _walk(value, child, name, depth + 1)


def _check_domain(domain: bytes, name: str) -> None:
    text = domain.decode("utf-8", "replace")
    if text not in ALLOWED_DOMAINS:
        raise GraphError(
            f"{name}: uses operators of the domain {text!r}; allowed: ONNX's own and"
            " 'com.microsoft'. No code of a bundle is ever loaded."
        )


def _fields(message: memoryview, name: str) -> Iterator[tuple[int, int | memoryview | None]]:
    """Number and value of each field: a whole number, bytes, or None for a fixed width."""
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position, name)
        field, wire = tag >> 3, tag & 7
        value: int | memoryview | None = None
        if wire == _VARINT:
            value, position = _read_varint(message, position, name)
        elif wire == _BYTES:
            length, position = _read_varint(message, position, name)
            value, position = message[position : position + length], position + length
        elif wire in _WIDTHS:
            position += _WIDTHS[wire]
        else:
            raise GraphError(f"{name}: not an ONNX file (wire type {wire}).")
        if position > len(message) or not 0 < field < 1 << 29:
            raise GraphError(f"{name}: not an ONNX file, or cut short.")
        yield field, value


def _read_varint(message: memoryview, position: int, name: str) -> tuple[int, int]:
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
