"""What the linears of the encoder read, on real texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from tqdm import tqdm

from polyhead.text.encoding import least_room
from polyhead.text.tokenizer import Tokenizer
from polyhead_export.errors import CalibrationError
from polyhead_export.passes.quantise_linears import Linear, linears
from polyhead_export.subgraph import session_of
from polyhead_export.texts import CalibrationTexts

_ENCODER = "encoder."
_ROWS = 1024
_TOKENS = 16_384


@dataclass(frozen=True)
class Observation:
    """One point.

    Attributes:
        name: of the tensor.
        linears: that read it.
        low: smallest value of each channel over all tokens, float32 `(width,)`.
        high: largest value of each channel.
        rows: a sample of tokens, float32 `(tokens, width)`.
        moments: sum of ``x^T x`` over more tokens x, float32 `(width, width)`.
        tokens: how many these are.
    """

    name: str
    linears: tuple[Linear, ...]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    rows: NDArray[np.float32]
    moments: NDArray[np.float32]
    tokens: int


def observe(
    model: ir.Model, tokenizer: Tokenizer, calibration: CalibrationTexts, *, max_tokens: int
) -> list[Observation]:
    """Run the float graph over the texts and look at every point of the encoder.

    Heads stay in float: they take a hundredth of the time, and decide. About a thousand tokens a
    point are kept, and the products of sixteen thousand added up, from all texts alike, so that
    memory does not grow with the texts.

    Args:
        model: the float graph.
        tokenizer: of the model.
        calibration: the texts; what is longer than `max_tokens` is read in windows.
        max_tokens: longest input.

    Raises:
        CalibrationError: when a value is not finite, which means NaN in the weights.
    """
    points = encoder_points(model.graph)
    names = list(points)
    widths = [len(group[0].weight.numpy()) for group in points.values()]
    low = [np.full(width, np.inf, np.float32) for width in widths]
    high = [np.full(width, -np.inf, np.float32) for width in widths]
    rows: list[list[NDArray[np.float32]]] = [[] for _ in names]
    moments, tokens = [np.zeros((width, width), np.float32) for width in widths], 0
    random = np.random.default_rng(calibration.seed)
    activations = [group[0].activation for group in points.values()]
    session = session_of(model.graph, model.graph.inputs, activations)
    inputs = [node.name for node in session.get_inputs()]
    for encoding in tqdm(
        tokenizer.encode(calibration.texts), desc="calibrate", unit="text", leave=False
    ):
        if len(encoding) > max_tokens and encoding.room(max_tokens) < least_room(max_tokens):
            continue  # an engine refuses it, too
        windows = encoding.windowed(max_tokens, stride=0).split()
        parts = len(calibration.texts) * len(windows)
        for window in windows:
            order = random.permutation(len(window.ids))
            kept, added = (order[: max(1, most // parts)] for most in (_ROWS, _TOKENS))
            tokens += len(added)
            for i, array in enumerate(session.run(names, window.feeds(inputs))):
                flat = array.reshape(-1, array.shape[-1])
                low[i] = np.minimum(low[i], flat.min(axis=0))
                high[i] = np.maximum(high[i], flat.max(axis=0))
                rows[i].append(flat[kept])
                with np.errstate(all="ignore"):  # what is not finite is refused below
                    moments[i] += flat[added].T @ flat[added]
    _check(names, low, high, moments)
    return [
        Observation(
            name,
            tuple(points[name]),
            low[i],
            high[i],
            np.concatenate(rows[i])[:_ROWS],
            moments[i],
            tokens,
        )
        for i, name in enumerate(names)
    ]


def encoder_points(graph: ir.Graph) -> dict[str, list[Linear]]:
    """The linears of the encoder by the tensor that they read, in the graph's order."""
    points: dict[str, list[Linear]] = {}
    for linear in linears(graph):
        if (linear.node.name or "").startswith(_ENCODER) and linear.activation.name:
            points.setdefault(linear.activation.name, []).append(linear)
    return points


def _check(
    names: Sequence[str],
    low: Sequence[NDArray[np.float32]],
    high: Sequence[NDArray[np.float32]],
    moments: Sequence[NDArray[np.float32]],
) -> None:
    for name, smallest, largest, squares in zip(names, low, high, moments, strict=True):
        if not all(np.isfinite(found).all() for found in (smallest, largest, squares)):
            raise CalibrationError(
                f"{name}: values from {smallest.min()} to {largest.max()}; expected"
                " numbers with finite squares. Look for NaN or infinity in the trained weights."
            )
