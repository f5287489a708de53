"""Tensors of the Open Inference Protocol: in JSON, or in bytes behind it (the binary extension).

The texts of a BYTES tensor are, in bytes, each four bytes of length, least first, and UTF-8.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from polyhead.serving.http.problems import MalformedRequest

_SIZE = struct.Struct("<I")


class InferInput(msgspec.Struct):
    """A tensor of a request; its data are here, or in the bytes behind the JSON."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = None


class InferOutput(msgspec.Struct):
    """A tensor that a request asks for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """What a request says before its bytes."""

    inputs: list[InferInput]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[InferOutput] = []


def texts(inputs: Sequence[InferInput], behind: bytes) -> dict[str, list[Any]]:
    """The texts of each input by its name, which are bytes-like where they are no UTF-8.

    Args:
        inputs: BYTES tensors of the shape `(texts,)` or `(texts, 1)`.
        behind: the bytes behind the JSON, of those inputs that have a ``binary_data_size``.

    Raises:
        MalformedRequest: for another type or shape, or other data than it announces.
    """
    found: dict[str, list[Any]] = {}
    taken = 0
    for each in inputs:
        if each.name in found:
            raise MalformedRequest(f"inputs: {each.name!r} is there twice.")
        if (
            each.datatype != "BYTES"
            or len(each.shape) not in (1, 2)
            or each.shape[1:] not in ([], [1])
        ):
            raise MalformedRequest(
                f"inputs: {each.name!r} is {each.datatype} of the shape {each.shape}, expected"
                " BYTES of the shape [texts] or [texts, 1]."
            )
        size = each.parameters.get("binary_data_size")
        if size is None:
            values = _flat(each.data)
        elif type(size) is int and 0 <= size <= len(behind) - taken:
            values = _split(memoryview(behind)[taken : taken + size], each.name)
            taken += size
        else:
            raise MalformedRequest(
                f"inputs: {each.name!r} has binary_data_size={size!r}, but there are"
                f" {len(behind) - taken:,} bytes for it."
            )
        if len(values) != each.shape[0]:
            raise MalformedRequest(
                f"inputs: {each.name!r} has {len(values):,} texts, but the shape {each.shape}."
            )
        found[each.name] = values
    if taken != len(behind):
        raise MalformedRequest(f"{len(behind) - taken:,} bytes belong to no input.")
    return found


def _flat(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise MalformedRequest("inputs: no 'data', expected a list of texts.")
    return [each[0] if isinstance(each, list) and len(each) == 1 else each for each in data]


def _split(block: memoryview, name: str) -> list[Any]:
    found: list[Any] = []
    place = 0
    while place < len(block):
        end = place + _SIZE.size
        if end <= len(block):
            end += _SIZE.unpack_from(block, place)[0]
        if end > len(block):
            raise MalformedRequest(f"inputs: the last text of {name!r} is cut off.")
        raw = bytes(block[place + _SIZE.size : end])
        try:
            found.append(raw.decode())
        except UnicodeDecodeError:
            found.append(raw)  # the fault of this text
        place = end
    return found


def output(
    name: str, values: NDArray[np.float32] | Sequence[bytes], *, binary: bool
) -> tuple[dict[str, Any], bytes]:
    """A tensor of an answer: what is said of it in JSON, and the bytes behind.

    Args:
        name: of the tensor.
        values: numbers, or texts in UTF-8.
        binary: whether the values are in the bytes.
    """
    if isinstance(values, np.ndarray):
        told = {"name": name, "shape": list(values.shape), "datatype": "FP32"}
        plain: list[Any] = values.ravel().tolist() if not binary else []
        behind = values.astype("<f4").tobytes() if binary else b""
    else:
        told = {"name": name, "shape": [len(values)], "datatype": "BYTES"}
        plain = [each.decode() for each in values] if not binary else []
        behind = b"".join(_SIZE.pack(len(each)) + each for each in values) if binary else b""
    if not binary:
        return {**told, "data": plain}, b""
    return {**told, "parameters": {"binary_data_size": len(behind)}}, behind


def whether(given: Mapping[str, Any], name: str, otherwise: bool = False) -> bool:
    """A parameter that is true or false.

    Raises:
        MalformedRequest: for anything else.
    """
    value = given.get(name, otherwise)
    if type(value) is not bool:
        raise MalformedRequest(f"parameters: {name}={value!r}, expected true or false.")
    return value


def milliseconds(given: Mapping[str, Any]) -> float | None:
    """The parameter ``timeout``, which is in microseconds; None where there is none, or it is 0.

    Raises:
        MalformedRequest: for what is no number above 0.
    """
    value = given.get("timeout")
    if value in (None, 0):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise MalformedRequest(f"parameters: timeout={value!r}, expected microseconds.")
    return value / 1e3
