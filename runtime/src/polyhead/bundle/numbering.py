"""Which values of graphs are the same: numbers for them, by structure (hash-consing).

A weight is its type, sizes and bytes; an input its name; any other value the operator that makes
it, with its attributes, the values that it reads and its place among the outputs. Values that agree
in this are the same, whatever they are called.
"""

from __future__ import annotations

import numpy as np

from polyhead.bundle.structure import Node, Structure, Tensor, Unmergeable

_SAMPLE = 64  # bytes at either end of a weight that tell most weights apart
_PIECE = 2**20  # bytes that are compared at once, which limits the memory that it takes


class Numbers:
    """A number for each value; equal numbers mean equal values."""

    def __init__(self) -> None:
        """Begin without values."""
        self._of_key: dict[object, int] = {}
        self._weights: dict[object, list[tuple[memoryview, int]]] = {}
        self._next = 0

    def weight(self, tensor: Tensor) -> int:
        """Of a tensor, whatever it is called."""
        data = tensor.data
        key = (tensor.form, len(data), bytes(data[:_SAMPLE]), bytes(data[-_SAMPLE:]))
        alike = self._weights.setdefault(key, [])
        for known, number in alike:
            if _equal(known, data):
                return number
        alike.append((data, self._new()))
        return alike[-1][1]

    def input(self, name: bytes) -> int:
        """Of what a graph is fed under a name."""
        return self._of(name)

    def outputs(self, node: Node, inputs: tuple[int | None, ...]) -> list[int]:
        """Of a node that reads these values; None is an input that is left out."""
        content = tuple(
            (name, tuple(self.weight(v) if isinstance(v, Tensor) else v for v in values))
            for name, values in node.attributes
        )
        # How many outputs are asked may say what is computed, as it does for Split.
        asked = tuple(bool(name) for name in node.outputs)
        return [
            self._of((node.operator, content, inputs, asked, place))
            for place in range(len(node.outputs))
        ]

    def _of(self, key: object) -> int:
        known = self._of_key.get(key)
        if known is None:
            known = self._of_key[key] = self._new()
        return known

    def _new(self) -> int:
        self._next += 1
        return self._next


def _equal(first: memoryview, other: memoryview) -> bool:
    """Whether all bytes are the same; both have one length."""
    return all(
        np.array_equal(
            np.frombuffer(first[start : start + _PIECE], np.uint8),
            np.frombuffer(other[start : start + _PIECE], np.uint8),
        )
        for start in range(0, len(first), _PIECE)
    )


def numbered(graph: Structure, numbers: Numbers) -> dict[bytes, int]:
    """A number for each named value of a graph.

    Raises:
        Unmergeable: when a value is read before it is computed, or has the name of another.
    """
    found = {value.name: numbers.input(value.name) for value in graph.inputs}
    found |= {tensor.name: numbers.weight(tensor) for tensor in graph.tensors}
    for node in graph.nodes:
        try:
            inputs = tuple(found[name] if name else None for name in node.inputs)
        except KeyError as problem:
            raise Unmergeable("an operator of it reads a value that is not there") from problem
        for name, number in zip(node.outputs, numbers.outputs(node, inputs), strict=True):
            if name and found.setdefault(name, number) != number:
                raise Unmergeable("two values of it have one name")
    if any(value.name not in found for value in graph.outputs):
        raise Unmergeable("an output of it is not computed")
    return found
