"""Reads just enough of an ONNX file to refuse what the runtime must not load.

A graph may point at files outside itself (external data), bring operators that another library has
to bring, or have loops and functions that run without end. All are found by walking the protobuf
wire format in place, without the `onnx` package and without a copy of the weights: the field
numbers are those of onnx.proto (ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from polyhead.bundle import limits
from polyhead.errors import GraphError

ALLOWED_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protobuf
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_TENSOR = "tensor"
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset"},
    "graph": {1: "node", 5: _TENSOR},
    "node": {5: "attribute"},
    "attribute": {5: _TENSOR, 10: _TENSOR},
    _TENSOR: {},
    "opset": {},
}
_DOMAIN_FIELD = {"node": 7, "opset": 1}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_WEIGHTS = (4, 5, 9, 10)  # of a tensor; written by any exporter with one byte or more a number
_INLINE = "write it without them (onnx.inliner.inline_local_functions)"
_UNROLL = "export it without control flow, with the graph of one branch or step"
_DENSE = "write them as usual tensors"
_REFUSED: dict[tuple[str, int], tuple[str, str]] = {
    ("model", 20): ("training steps", "export it for inference"),
    ("model", 25): ("functions", _INLINE),
    ("graph", 15): ("sparse tensors", _DENSE),
    ("attribute", 6): ("a graph inside an operator (If, Loop, Scan)", _UNROLL),
    ("attribute", 11): ("graphs inside an operator", _UNROLL),
    ("attribute", 22): ("sparse tensors", _DENSE),
    ("attribute", 23): ("sparse tensors", _DENSE),
    (_TENSOR, 6): ("tensors of texts", "tokenise outside the graph"),
}

_INPUT = "input"
_COUNTED = {"node": limits.NODES, _INPUT: limits.INPUTS, _TENSOR: limits.WEIGHTS}
_OPERATOR = ("node", 4)
_BY_CHANCE = re.compile(rb"Random(Normal|Uniform)(Like)?|Multinomial|Bernoulli")


def check_onnx(content: bytes, name: str) -> None:
    """Check a serialised ModelProto.

    Args:
        content: the whole file.
        name: what to call it in messages.

    Raises:
        GraphError: when it is no protobuf message, has tensors in external files, uses an operator
            domain other than ONNX's own and ``com.microsoft``, has graphs inside operators,
            functions, sparse tensors, texts or numbers by chance, or is beyond
            `polyhead.bundle.limits`.
    """
    if not content:
        raise GraphError(f"{name}: empty, expected an ONNX model.")
    walk = _Walk(name)
    walk.message(memoryview(content), "model")
    for kind, limit in _COUNTED.items():
        limit.check(walk.found[kind], name, GraphError)
    limits.STRUCTURE_BYTES.check(len(content) - walk.weights, name, GraphError)


class _Walk:
    def __init__(self, name: str) -> None:
        self.name = name
        self.weights = 0  # bytes
        self.fields = 0
        self.found = Counter[str]()

    def message(self, message: memoryview, kind: str) -> None:
        self.found[kind] += 1
        for field, value in self._fields(message):
            if kind == _TENSOR:
                self._tensor(field, value)
            if (refused := _REFUSED.get((kind, field))) is not None:
                what, instead = refused
                raise GraphError(
                    f"{self.name}: has {what}, which no graph of an encoder needs and which may run"
                    f" without end; {instead}."
                )
            if not isinstance(value, memoryview):
                continue
            self.found[_INPUT] += (kind, field) == ("node", 1)
            if (kind, field) == _OPERATOR and _BY_CHANCE.fullmatch(value):
                raise GraphError(
                    f"{self.name}: {bytes(value).decode()} draws numbers by chance, and the same"
                    " text has to have the same answer; export it for inference."
                )
            if field == _DOMAIN_FIELD.get(kind):
                self._domain(bytes(value[:99]))
            if (child := _CHILDREN[kind].get(field)) is not None:
                self.message(value, child)

    def _tensor(self, field: int, value: int | memoryview | None) -> None:
        if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
            raise GraphError(
                f"{self.name}: a tensor lies in an external file. Expected all weights inside the"
                " graph; export the bundle again."
            )
        if field in _WEIGHTS and isinstance(value, memoryview):
            self.weights += len(value)

    def _domain(self, domain: bytes) -> None:
        text = domain.decode("utf-8", "replace")
        if text not in ALLOWED_DOMAINS:
            raise GraphError(
                f"{self.name}: uses operators of the domain {text!r}; allowed: ONNX's own and"
                " 'com.microsoft'. No code of a bundle is ever loaded."
            )

    def _fields(self, message: memoryview) -> Iterator[tuple[int, int | memoryview | None]]:
        """Number and value of each field: a whole number, bytes, or None for a fixed width."""
        position = 0
        while position < len(message):
            self.fields += 1
            if self.fields > limits.FIELDS.most:
                limits.FIELDS.check(self.fields, self.name, GraphError)
            tag, position = self._varint(message, position)
            field, wire = tag >> 3, tag & 7
            value: int | memoryview | None = None
            if wire == _VARINT:
                value, position = self._varint(message, position)
            elif wire == _BYTES:
                length, position = self._varint(message, position)
                value, position = message[position : position + length], position + length
            elif wire in _WIDTHS:
                position += _WIDTHS[wire]
            else:
                raise GraphError(f"{self.name}: not an ONNX file (wire type {wire}).")
            if position > len(message) or not 0 < field < 1 << 29:
                raise GraphError(f"{self.name}: not an ONNX file, or cut short.")
            yield field, value

    def _varint(self, message: memoryview, position: int) -> tuple[int, int]:
        """A whole number, and the position behind it."""
        value = shift = 0
        while True:
            if position >= len(message) or shift > 63:
                raise GraphError(f"{self.name}: not an ONNX file, or cut short.")
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
