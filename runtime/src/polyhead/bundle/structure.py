"""What an ONNX graph consists of, read from its bytes without a copy of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from mmap import mmap

from polyhead.bundle.wire import BYTES, MODEL_GRAPH, fields, read_varint

Size = int | str | None
"""A size of a tensor: a number, a name for one that the caller chooses, or None."""

_ONNX = (b"", b"ai.onnx")  # two names of one domain
_RANDOM = (b"Random", b"Dropout", b"Multinomial", b"Bernoulli", b"Sampl")
_SCALARS = {2: "f", 3: "i", 4: "s", 7: "floats", 8: "ints", 9: "strings", 20: "type"}


class Unmergeable(Exception):
    """Why a graph cannot be merged with certainty; every message ends a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A weight.

    Attributes:
        name: of its value.
        form: type of the elements, sizes, and how `data` holds them.
        data: its elements.
        message: the whole TensorProto.
    """

    name: bytes
    form: tuple[object, ...]
    data: memoryview
    message: memoryview


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """An operator.

    Attributes:
        name: its own, for people.
        inputs: names of values; an input that is left out has the name ``b""``.
        outputs: names of values, likewise.
        operator: its type and domain.
        attributes: by name, in a fixed order; tensors among the values compare by content only
            when they are interned.
        message: the whole NodeProto.
    """

    name: bytes
    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]
    operator: tuple[bytes, bytes]
    attributes: tuple[tuple[bytes, tuple[object, ...]], ...]
    message: memoryview


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor that goes in or out: name, type of its elements, sizes."""

    name: bytes
    kind: int
    shape: tuple[Size, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """A graph and what its operators mean.

    Attributes:
        content: the whole ModelProto.
        graph: the GraphProto in it, and `place`, where its field begins and ends.
        language: version of the format and of each domain of operators.
        inputs: what it is fed.
        outputs: what it computes.
        nodes: in an order in which they can be computed.
        tensors: its weights.
        named: names of values of which it says something else, such as a size.
    """

    content: memoryview
    graph: memoryview
    place: tuple[int, int]
    language: tuple[int, frozenset[tuple[bytes, int]]]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    tensors: tuple[Tensor, ...]
    named: frozenset[bytes]


def read(content: bytes | mmap, name: str) -> Structure:
    """Take a serialised ModelProto apart.

    Args:
        content: must stay as long as the structure is used, which refers to it.
        name: of the file, for messages.

    Raises:
        GraphError: when it is no protobuf message.
        Unmergeable: when it has what this module does not know, or chance in it.
    """
    model = memoryview(content)
    graph: memoryview | None = None
    place, version, domains, position = (0, 0), 0, set(), 0
    for field, wire, value in fields(model, name):
        end = _end(model, position, name)
        if field == MODEL_GRAPH and isinstance(value, memoryview):
            if graph is not None:
                raise Unmergeable("it has two graphs")
            graph, place = value, (position, end)
        elif field == 1 and isinstance(value, int):
            version = value
        elif field == 8 and wire == BYTES and isinstance(value, memoryview):
            domains.add(_domain(value, name))
        elif field not in (2, 3, 4, 5, 6, 14):  # who made it
            raise Unmergeable(f"it has functions or a part that is unknown here (model {field})")
        position = end
    if graph is None:
        raise Unmergeable("it has no graph")
    parts = _parts(graph, name)
    tensors = tuple(_tensor(each, name) for each in parts[5])
    nodes = tuple(_node(each, name) for each in parts[1])
    inputs = tuple(_value(each, name) for each in parts[11])
    if {value.name for value in inputs} & {tensor.name for tensor in tensors}:
        raise Unmergeable("an input of it has a weight as its default")
    return Structure(
        model,
        graph,
        place,
        (version, frozenset(domains)),
        inputs,
        tuple(_value(each, name) for each in parts[12]),
        nodes,
        tensors,
        frozenset(_text(each, 1, name) for each in parts[13]),
    )


def _end(model: memoryview, position: int, name: str) -> int:
    """Where the field ends that begins at `position`; `fields` has checked it."""
    tag, position = read_varint(model, position, name)
    if tag & 7 == BYTES:
        length, position = read_varint(model, position, name)
        return position + length
    if tag & 7 == 0:
        return read_varint(model, position, name)[1]
    return position + (8 if tag & 7 == 1 else 4)


def _parts(graph: memoryview, name: str) -> Mapping[int, list[memoryview]]:
    parts: dict[int, list[memoryview]] = {1: [], 5: [], 11: [], 12: [], 13: []}
    for field, _, value in fields(graph, name):
        if field in parts and isinstance(value, memoryview):
            parts[field].append(value)
        elif field not in (2, 10, 16):  # name and words for people
            raise Unmergeable(f"it has sparse weights or a part that is unknown (graph {field})")
    return parts


def _domain(message: memoryview, name: str) -> tuple[bytes, int]:
    found = {field: value for field, _, value in fields(message, name)}
    version, domain = found.get(2, 0), found.get(1, memoryview(b""))
    if not isinstance(version, int) or not isinstance(domain, memoryview):
        raise Unmergeable("its versions of operators cannot be read")
    text = bytes(domain)
    return b"" if text in _ONNX else text, version


def _text(message: memoryview, wanted: int, name: str) -> bytes:
    found = b""
    for field, _, value in fields(message, name):
        if field == wanted and isinstance(value, memoryview):
            found = bytes(value)
    return found


def _tensor(message: memoryview, name: str) -> Tensor:
    sizes: list[int] = []
    kind, label = 0, b""
    held: list[tuple[int, memoryview]] = []
    for field, _, value in fields(message, name):
        if field == 1:
            sizes += [value] if isinstance(value, int) else _numbers(value, name)
        elif field == 2 and isinstance(value, int):
            kind = value
        elif field == 8 and isinstance(value, memoryview):
            label = bytes(value)
        elif field in (4, 5, 6, 7, 9, 10, 11) and isinstance(value, memoryview):
            held.append((field, value))
        elif field not in (12, 16) and (field, value) != (14, 0):  # words for people; not external
            raise Unmergeable(f"a weight of it has a part that is unknown here (tensor {field})")
    if len(held) > 1:
        raise Unmergeable("a weight of it is written in pieces")
    how, data = held[0] if held else (9, memoryview(b""))
    if (how, kind) in ((4, 1), (10, 11)):  # floats in either field have the same bytes
        how = 9
    return Tensor(label, (kind, tuple(sizes), how), data, message)


def _numbers(packed: memoryview, name: str) -> list[int]:
    found, position = [], 0
    while position < len(packed):
        value, position = read_varint(packed, position, name)
        found.append(value)
    return found


def _node(message: memoryview, name: str) -> Node:
    inputs, outputs, attributes = [], [], []
    texts = {3: b"", 4: b"", 7: b""}
    for field, _, value in fields(message, name):
        if not isinstance(value, memoryview):
            raise Unmergeable(f"an operator of it has a part that is unknown here (node {field})")
        if field == 1:
            inputs.append(bytes(value))
        elif field == 2:
            outputs.append(bytes(value))
        elif field in texts:
            texts[field] = bytes(value)
        elif field == 5:
            attributes.append(_attribute(value, name))
        elif field not in (6, 9):  # words for people
            raise Unmergeable(f"an operator of it has a part that is unknown here (node {field})")
    kind, domain = texts[4], b"" if texts[7] in _ONNX else texts[7]
    if any(word in kind for word in _RANDOM):
        raise Unmergeable(f"its operator {kind.decode('utf-8', 'replace')} may use chance")
    attributes.sort(key=lambda each: each[0])
    return Node(texts[3], tuple(inputs), tuple(outputs), (kind, domain), tuple(attributes), message)


def _attribute(message: memoryview, name: str) -> tuple[bytes, tuple[object, ...]]:
    label = b""
    content: list[object] = []
    for field, _, value in fields(message, name):
        if field == 1 and isinstance(value, memoryview):
            label = bytes(value)
        elif field in _SCALARS:
            content.append((field, bytes(value) if isinstance(value, memoryview) else value))
        elif field in (5, 10) and isinstance(value, memoryview):
            content += [field, _tensor(value, name)]
        elif field != 13:  # words for people
            raise Unmergeable("an operator of it has a graph inside, or an unknown attribute")
    return label, tuple(content)


def _value(message: memoryview, name: str) -> Value:
    label = _text(message, 1, name)
    try:
        label.decode()
    except UnicodeDecodeError as problem:
        raise Unmergeable("an input or output of it has no name in UTF-8") from problem
    for kind in _messages(message, 2, name):
        for tensor in _messages(kind, 1, name):
            numbers = {f: v for f, _, v in fields(tensor, name) if isinstance(v, int)}
            shapes = list(_messages(tensor, 2, name))
            if len(shapes) == 1 and 1 in numbers:
                sizes = tuple(_size(each, name) for each in _messages(shapes[0], 1, name))
                return Value(label, numbers[1], sizes)
    raise Unmergeable("an input or output of it is no tensor of known rank")


def _messages(message: memoryview, wanted: int, name: str) -> list[memoryview]:
    return [v for f, _, v in fields(message, name) if f == wanted and isinstance(v, memoryview)]


def _size(message: memoryview, name: str) -> Size:
    for field, _, value in fields(message, name):
        if field == 1 and isinstance(value, int):
            return value
        if field == 2 and isinstance(value, memoryview):
            return bytes(value).decode("utf-8", "replace")
    return None
