"""The union of graphs: what several of them compute alike is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from polyhead.bundle.messages import tensor_value
from polyhead.bundle.numbering import Numbers, numbered
from polyhead.bundle.structure import Node, Structure, Tensor, Unmergeable, Value
from polyhead.bundle.wire import (
    GRAPH_INITIALIZER,
    GRAPH_NODE,
    GRAPH_OUTPUT,
    MODEL_GRAPH,
    fields,
    message,
    opening,
    raw,
)

MOST_BYTES = 2**31 - 1
"""Of a protobuf message."""
_HERE = "the graph"  # has been read once without an error

Piece = bytes | memoryview


@dataclass(frozen=True)
class Joined:
    """How a graph stands in a union.

    Attributes:
        outputs: names of its outputs -> those in the union.
        nodes: its operators.
        shared: those that were there already.
    """

    outputs: Mapping[str, str]
    nodes: int
    shared: int


@dataclass
class _Names:
    """Names that are taken, of values and of operators."""

    values: set[bytes] = field(default_factory=set)
    nodes: set[bytes] = field(default_factory=set)

    def copy(self) -> _Names:
        return _Names(set(self.values), set(self.nodes))


def _free(name: bytes, taken: set[bytes]) -> bytes:
    """`name`, or with a number behind it; taken from now on."""
    found, count = name, 1
    while found in taken:
        count += 1
        found = name + b"-%d" % count
    taken.add(found)
    return found


class Union:
    """A graph, and others added to it; each keeps its outputs, with the same bits."""

    def __init__(self, base: Structure) -> None:
        """Begin with one graph, which stays as it is.

        Raises:
            Unmergeable: when it names a value before it is computed, or twice.
        """
        self._base = base
        self._numbers = Numbers()
        numbers = numbered(base, self._numbers)
        self._found: dict[int, bytes] = {}
        for name, number in numbers.items():
            self._found.setdefault(number, name)
        self._outputs = {value.name: numbers[value.name] for value in base.outputs}
        values = {*numbers, *base.named}
        self._names = _Names(values, {node.name for node in base.nodes})
        self._more: list[Piece] = []
        self._same = {value.name.decode(): value.name.decode() for value in base.outputs}

    @property
    def own(self) -> Joined:
        """How the first graph stands in it."""
        return Joined(self._same, len(self._base.nodes), 0)

    def add(self, other: Structure) -> Joined:
        """Add a graph, if most of it and of the first graph is the same.

        Less would save little, and a call for the heads of one would compute the other as well.

        Raises:
            Unmergeable: says why not; the union is as before then.
        """
        base = self._base
        sizes = _same_inputs(base, other)
        if base.language != other.language:
            raise Unmergeable("their versions of the format or of the operators differ")
        numbers = numbered(other, self._numbers)
        new = [node for node in other.nodes if not self._knows(node, numbers)]
        shared = len(other.nodes) - len(new)
        if 2 * shared < max(len(other.nodes), len(base.nodes)):
            raise Unmergeable(
                f"only {shared} of {len(other.nodes)} operators compute the same, of which most"
                " must be; int8 graphs agree when they were exported with --calibrated-as"
            )
        addition = _Addition(dict(self._found), dict(self._outputs), self._names.copy())
        outputs = addition.add(other, new, numbers, sizes)
        grown = len(base.content) + sum(map(len, self._more)) + sum(map(len, addition.pieces))
        if grown > MOST_BYTES:
            raise Unmergeable("together they are larger than 2 GB")
        self._found, self._outputs = addition.found, addition.outputs
        self._names = addition.names
        self._more += addition.pieces
        return Joined(outputs, len(other.nodes), shared)

    def content(self) -> bytes:
        """The ModelProto of all of them."""
        base, (start, end) = self._base, self._base.place
        length = len(base.graph) + sum(map(len, self._more))
        # A message whose repeated fields go on behind it is one with more of them.
        head, tail = base.content[:start], base.content[end:]
        return b"".join([head, opening(MODEL_GRAPH, length), base.graph, *self._more, tail])

    def _knows(self, node: Node, numbers: Mapping[bytes, int]) -> bool:
        return all(numbers[name] in self._found for name in node.outputs if name)


@dataclass
class _Addition:
    """What a graph adds to a union."""

    found: dict[int, bytes]
    outputs: dict[bytes, int]
    names: _Names
    pieces: list[Piece] = field(default_factory=list)

    def add(
        self,
        other: Structure,
        new: list[Node],
        numbers: Mapping[bytes, int],
        sizes: Mapping[str, str | None],
    ) -> dict[str, str]:
        """Everything that is not there; gives the names of the outputs."""
        wanted = {value.name: _free(value.name, self.names.values) for value in other.outputs}
        for node in new:
            for name in node.outputs:
                if name and numbers[name] not in self.found:
                    free = wanted.get(name) or _free(name, self.names.values)
                    self.found[numbers[name]] = free
        used = {name for node in new for name in node.inputs}
        for tensor in other.tensors:
            if tensor.name in used and numbers[tensor.name] not in self.found:
                name = _free(tensor.name, self.names.values)
                self.found[numbers[tensor.name]] = name
                self._append(GRAPH_INITIALIZER, list(_renamed_tensor(tensor, name)))
        written: set[int] = set()
        for node in new:
            made = {numbers[name] for name in node.outputs if name}
            if not made <= written:  # else it stands twice in the graph that is added
                written |= made
                self._append(GRAPH_NODE, list(self._renamed_node(node, numbers)))
        return {
            value.name.decode(): self._output(value, wanted[value.name], numbers, sizes).decode()
            for value in other.outputs
        }

    def _output(
        self,
        value: Value,
        name: bytes,
        numbers: Mapping[bytes, int],
        sizes: Mapping[str, str | None],
    ) -> bytes:
        number = numbers[value.name]
        for known, of in self.outputs.items():
            if of == number:
                return known
        if number not in self.found:
            raise Unmergeable("an output of it is a weight")
        if self.found[number] != name:  # a value inside the union: a name of its own for it
            same = message(1, self.found[number]) + message(2, name) + message(4, "Identity")
            self._append(GRAPH_NODE, [same])
        shape = [sizes.get(size) if isinstance(size, str) else size for size in value.shape]
        self._append(GRAPH_OUTPUT, [tensor_value(name, value.kind, shape)])
        self.outputs[name] = number
        return name

    def _renamed_node(self, node: Node, numbers: Mapping[bytes, int]) -> Iterator[Piece]:
        for number, wire, value in fields(node.message, _HERE):
            if number in (1, 2) and value and isinstance(value, memoryview):
                yield message(number, self.found[numbers[bytes(value)]])
            elif number == 3:
                yield message(number, _free(node.name, self.names.nodes))
            else:
                yield raw(number, wire, value)

    def _append(self, number: int, pieces: list[Piece]) -> None:
        self.pieces += [opening(number, sum(map(len, pieces))), *pieces]


def _renamed_tensor(tensor: Tensor, name: bytes) -> Iterator[Piece]:
    """Its message with another name, without a copy of its elements."""
    for number, wire, value in fields(tensor.message, _HERE):
        if number == 8:
            continue
        if isinstance(value, memoryview) and wire == 2:
            yield opening(number, len(value))
            yield value
        else:
            yield raw(number, wire, value)
    yield message(8, name)


def _same_inputs(first: Structure, other: Structure) -> dict[str, str | None]:
    """Refuse other inputs; gives the names of the other's sizes in the first."""
    own, theirs = ({value.name: value for value in graph.inputs} for graph in (first, other))
    sizes: dict[str, str | None] = {}
    for name in own.keys() | theirs.keys():
        if name not in own or name not in theirs:
            raise Unmergeable("their inputs differ")
        here, there = own[name], theirs[name]
        if here.kind != there.kind or len(here.shape) != len(there.shape):
            raise Unmergeable("the types of their inputs differ")
        for size, same in zip(there.shape, here.shape, strict=True):
            if size != same and (isinstance(size, int) or isinstance(same, int)):
                raise Unmergeable("the sizes of their inputs differ")
            if isinstance(size, str):
                known = sizes.setdefault(size, same if isinstance(same, str) else None)
                sizes[size] = known if known == same else None
    return sizes
