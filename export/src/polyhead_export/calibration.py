"""Ranges of the activations that are going to be quantised, measured on real texts."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from tqdm import tqdm

from polyhead.tokenizing import Input, Tokenizer, flat, least_room
from polyhead_export.errors import CalibrationError
from polyhead_export.passes.quantise_linears import linears

_ENCODER = "encoder."


@dataclass(frozen=True)
class CalibrationTexts:
    """What the ranges are measured on.

    Attributes:
        texts: sampled from the training texts and pairs.
        seed: of the sample.
    """

    texts: tuple[Input, ...]
    seed: int

    @property
    def digest(self) -> str:
        """SHA-256 over the texts in their order."""
        return hashlib.sha256("\0".join(map(flat, self.texts)).encode()).hexdigest()


def sample(texts: Sequence[Input], *, count: int, seed: int) -> CalibrationTexts:
    """Draw up to `count` different texts.

    Raises:
        CalibrationError: when there is no text.
    """
    distinct = sorted(set(texts), key=flat)
    if not distinct:
        raise CalibrationError(
            "no texts to calibrate with; int8 needs some of the training texts."
            " Name other data with --config."
        )
    return CalibrationTexts(
        tuple(random.Random(seed).sample(distinct, min(count, len(distinct)))), seed
    )


def ranges(
    model: ir.Model, tokenizer: Tokenizer, calibration: CalibrationTexts, *, max_tokens: int
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of every tensor that a linear of the encoder reads.

    Heads stay in float: they take a hundredth of the time, and decide.

    Args:
        model: the float graph.
        tokenizer: of the model.
        calibration: the texts; what is longer than `max_tokens` is read in windows.
        max_tokens: longest input.

    Raises:
        CalibrationError: when a range is not finite, which means NaN in the weights.
    """
    graph = model.graph
    inside = [x for x in linears(graph) if (x.node.name or "").startswith(_ENCODER)]
    values = list(dict.fromkeys(linear.activation for linear in inside))
    session = _session(model, values)
    inputs = [node.name for node in session.get_inputs()]
    low = np.full(len(values), np.inf)
    high = np.full(len(values), -np.inf)
    names = [value.name for value in values]
    for encoding in tqdm(
        tokenizer.encode(calibration.texts), desc="calibrate", unit="text", leave=False
    ):
        if len(encoding) > max_tokens and encoding.room(max_tokens) < least_room(max_tokens):
            continue  # an engine refuses it, too
        for window in encoding.windowed(max_tokens, stride=0).split():
            arrays = session.run(names, window.feeds(inputs))
            low = np.minimum(low, [array.min() for array in arrays])
            high = np.maximum(high, [array.max() for array in arrays])
    for name, smallest, largest in zip(names, low, high, strict=True):
        if not np.isfinite([smallest, largest]).all():
            raise CalibrationError(
                f"{name}: values from {smallest} to {largest}; expected finite numbers. Look for"
                " NaN or infinity in the trained weights."
            )
    return {str(n): (float(a), float(b)) for n, a, b in zip(names, low, high, strict=True)}


def _session(model: ir.Model, values: Sequence[ir.Value]) -> ort.InferenceSession:
    graph = model.graph
    part = ir.convenience.extract(graph, list(graph.inputs), list(values))
    part.opset_imports.update(graph.opset_imports)
    content = ir.to_proto(ir.Model(part, ir_version=model.ir_version)).SerializeToString()
    return ort.InferenceSession(content, providers=["CPUExecutionProvider"])
