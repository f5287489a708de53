"""The two graphs of a head that writes: traced, and held against the PyTorch decoder.

``cross`` turns the encoder's states into keys and values of each layer, once for a text; ``step``
reads the last tokens and all keys and values, and gives the scores of what comes next. Both have
standard operators only, without If or Loop, and all their sizes but the model's own are dynamic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyhead.inference.session import OnnxSession
from polyhead_export.errors import ParityError, TraceError
from polyhead_export.passes.clean import clean
from polyhead_export.passes.fold_constants import FoldConstants
from polyhead_export.trace import traced_quietly
from polyhead_models.generation.shape import DecoderShape
from polyhead_models.heads.generation import GenerationNetwork

TOLERANCE = 1e-4
"""Largest difference from the PyTorch decoder, of the largest number of an output or of 1."""

_SHAPES = ((1, 1, 0, 1), (1, 1, 5, 9), (3, 1, 2, 4), (2, 3, 0, 6), (2, 2, 4, 1))
"""Rows, new tokens, past tokens and tokens of the source that are tried."""


@dataclass(frozen=True)
class DecoderNames:
    """Names of inputs and outputs, in their order.

    Attributes:
        cross: outputs of the cross graph.
        inputs: of the step graph.
        outputs: of the step graph.
    """

    cross: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, shape: DecoderShape) -> DecoderNames:
        """Those of a decoder."""
        past, cross, present = (
            tuple(f"{kind}.{i}.{part}" for i in range(shape.layers) for part in ("key", "value"))
            for kind in ("past", "cross", "present")
        )
        source, copied = (("source",), ("copied",)) if shape.copies else ((), ())
        return cls(cross, ("tokens", *past, *cross, *source), ("scores", *present, *copied))


def cross_graph(network: GenerationNetwork) -> ir.Model:
    """The float graph of a head's states into keys and values.

    Raises:
        TraceError: when it cannot be traced.
    """
    names = DecoderNames.of(network.decoder.shape)
    batch, source = torch.export.Dim("batch"), torch.export.Dim("source")
    states = torch.zeros(2, 7, network.decoder.shape.width)
    return _traced(network.cross(), (states,), ({0: batch, 1: source},), ("states",), names.cross)


def step_graph(network: GenerationNetwork) -> ir.Model:
    """The float graph of tokens and caches into scores.

    Raises:
        TraceError: when it cannot be traced.
    """
    shape = network.decoder.shape
    names = DecoderNames.of(shape)
    batch, new, past, source = map(torch.export.Dim, ("batch", "new", "past", "source"))
    arrays = _feeds(shape, (2, 2, 5, 7))
    of_past, of_cross = {0: batch, 2: past}, {0: batch, 2: source}
    dimensions = [of_past] * (2 * shape.layers) + [of_cross] * (2 * shape.layers)
    if shape.copies:
        dimensions.append({0: batch, 1: source})
    return _traced(
        network.step(),
        tuple(map(torch.from_numpy, arrays)),
        ({0: batch, 1: new}, tuple(dimensions)),
        names.inputs,
        names.outputs,
    )


def _traced(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    dimensions: tuple[Any, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> ir.Model:
    module.eval()
    try:
        with torch.no_grad():
            graph = traced_quietly(module, arguments, dimensions, inputs, outputs)
    except Exception as problem:  # the exporter raises many kinds, its own and others'
        raise TraceError(
            f"{type(module).__name__} of a decoder: torch {torch.__version__} cannot trace it:"
            f" {problem}. Please report it."
        ) from problem
    ir.passes.Sequential(clean(), FoldConstants(), clean())(graph)
    return graph


def check(network: GenerationNetwork, cross: Path, step: Path, *, tolerance: float) -> float:
    """Compare both graphs with the PyTorch decoder, for one row and many, with a past and without.

    Args:
        network: in evaluation mode.
        cross: the cross graph on disk.
        step: the step graph on disk.
        tolerance: the largest difference of a number, of the largest one of its output or of 1.

    Returns:
        The largest difference, in that sense.

    Raises:
        ParityError: when it is above `tolerance`; names output and shape.
    """
    shape, largest = network.decoder.shape, 0.0
    names, random = DecoderNames.of(shape), np.random.default_rng(0)
    sessions = OnnxSession(cross), OnnxSession(step)
    for sizes in _SHAPES:
        rows, _, _, source = sizes
        states = random.standard_normal((rows, source, shape.width)).astype(np.float32)
        found = sessions[0].run(names.cross, {"states": states})
        largest = max(
            largest, _differing(cross, names.cross, network.cross(), [states], found, tolerance)
        )
        arrays = _feeds(shape, sizes)
        feeds: dict[str, Any] = dict(zip(names.inputs, arrays, strict=True))
        found = sessions[1].run(names.outputs, feeds)
        largest = max(
            largest, _differing(step, names.outputs, network.step(), arrays, found, tolerance)
        )
    return largest


def _differing(
    path: Path,
    names: Sequence[str],
    module: nn.Module,
    arrays: Sequence[NDArray[Any]],
    found: Sequence[NDArray[np.float32]],
    tolerance: float,
) -> float:
    with torch.inference_mode():
        expected = [each.numpy() for each in module(*map(torch.from_numpy, arrays))]
    largest = 0.0
    for name, a, b in zip(names, found, expected, strict=True):
        error = float(np.abs(a - b).max(initial=0.0)) if a.shape == b.shape else np.inf
        error /= max(1.0, float(np.abs(b).max(initial=0.0)))
        if not error <= tolerance:
            raise ParityError(
                f"{name} for {' and '.join(str(each.shape) for each in arrays[:2])}: {path.name}"
                f" differs from the PyTorch decoder by {error:.2g}, allowed {tolerance:.0e}."
                " Please report it."
            )
        largest = max(largest, error)
    return largest


def _feeds(shape: DecoderShape, sizes: tuple[int, int, int, int]) -> list[NDArray[Any]]:
    """Random inputs of the step graph, in their order."""
    rows, new, past, source = sizes
    random = np.random.default_rng(sum(sizes))
    arrays: list[NDArray[Any]] = [random.integers(0, shape.vocabulary, (rows, new))]
    for tokens in (past, source):
        size = (rows, shape.heads, tokens, shape.head_size)
        arrays += [random.standard_normal(size).astype(np.float32) for _ in range(2 * shape.layers)]
    if shape.copies:
        arrays.append(random.integers(-1, shape.vocabulary, (rows, source)))
    return arrays
