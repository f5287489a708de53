"""Reads just enough of an ONNX file to refuse what the runtime must not load.

A graph may point at files outside itself (external data) or at operators that another library has
to bring. Both are found by walking the protobuf wire format, without the `onnx` package: the field
numbers are those of onnx.proto (ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto).
"""

from __future__ import annotations

from mmap import mmap

from polyhead.bundle.wire import BYTES, fields
from polyhead.errors import GraphError

ALLOWED_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})

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


def scan(content: bytes | mmap, name: str) -> None:
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
    for field, wire, value in fields(message, name):
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
        child = _CHILDREN[kind].get(field)
        if child is not None and wire == BYTES:
            _walk(value, child, name, depth + 1)


def _check_domain(domain: bytes, name: str) -> None:
    text = domain.decode("utf-8", "replace")
    if text not in ALLOWED_DOMAINS:
        raise GraphError(
            f"{name}: uses operators of the domain {text!r}; allowed: ONNX's own and"
            " 'com.microsoft'. No code of a bundle is ever loaded."
        )
