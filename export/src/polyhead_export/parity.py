"""Does a written graph give the PyTorch model's numbers, and the same ones in every batch?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polyhead.bundle import Certificate
from polyhead.cli.output import listed
from polyhead.inference.session import OnnxSession
from polyhead.text.encoding import Encoding
from polyhead.verify import stability
from polyhead_export.errors import ParityError, StabilityError
from polyhead_export.passes.padding_mask import ATTENTION_MASK
from polyhead_models.model import MultiHeadModel, TorchBackend

TOLERANCE = 1e-4


def check(
    model: MultiHeadModel,
    graph: Path,
    *,
    max_tokens: int,
    tolerance: float = TOLERANCE,
    padded: bool = False,
) -> float:
    """Compare all outputs of a batch with the model's, which reads row by row.

    In the exact layout the shapes are (1, 1), (1, max), (3, 7) and (7, 33). In the padded layout
    rows of mixed lengths stand in one batch; padding is filled with random token ids, and every row
    is long enough once not to be padded.

    Args:
        model: in evaluation mode.
        graph: the graph on disk.
        max_tokens: longest input; shapes above it are left out.
        tolerance: the largest difference of a logit that is allowed; in the padded layout relative
            to the output's largest absolute logit where that is above 1.
        padded: whether the graph is in the padded layout.

    Returns:
        The largest difference, in that sense.

    Raises:
        ParityError: when it is above `tolerance`, or a logit is not finite; names output and shape.
    """
    session, trained = OnnxSession(graph), TorchBackend(model)
    outputs = [spec.output for spec in model.specs.values()]
    random = np.random.default_rng(0)
    largest = 0.0
    for lengths in _padded(max_tokens) if padded else _exact(max_tokens):
        shape = (len(lengths), max(lengths))
        ids = random.integers(5, int(model.encoder.config.vocab_size), shape, dtype=np.int64)
        known = {"input_ids": ids, "token_type_ids": random.integers(0, 2, shape)}
        feeds = {name: known[name] for name in model.inputs}
        mask = (np.arange(shape[1]) < np.array(lengths)[:, None]).astype(np.int64)
        found = session.run(outputs, {**feeds, **({ATTENTION_MASK: mask} if padded else {})})
        for row, tokens in enumerate(lengths):
            alone = {name: feed[row : row + 1, :tokens] for name, feed in feeds.items()}
            for name, a, (b,) in zip(outputs, found, trained.run(outputs, alone), strict=True):
                answer = a[row, :tokens] if a.ndim == 3 else a[row]
                error = float(np.abs(answer - b).max()) if answer.shape == b.shape else np.inf
                if padded:
                    error /= max(1.0, float(np.abs(b).max()))
                if not error <= tolerance:
                    where = f"of {tokens} tokens padded to" if padded else f"at {shape[0]} x"
                    raise ParityError(
                        f"{name} {where} {shape[1]}{'' if padded else ' tokens'}: {graph.name}"
                        f" differs from the PyTorch model by {error:.2g}, allowed"
                        f" {tolerance:.0e}. Please report the encoder's family."
                    )
                largest = max(largest, error)
    return largest


def _exact(max_tokens: int) -> list[list[int]]:
    """The lengths of the rows of each batch."""
    shapes = ((1, 1), (1, max_tokens), (3, 7), (7, 33))
    return [[tokens] * rows for rows, tokens in shapes if tokens <= max_tokens]


def _padded(max_tokens: int) -> list[list[int]]:
    return [
        sorted({n for n in (1, 2, 5, longest - 1, longest) if 0 < n <= longest})
        for longest in sorted({min(n, max_tokens) for n in (1, 7, 33, max_tokens)})
    ]


def certify(graph: Path, encodings: Sequence[Encoding]) -> Certificate:
    """Measure the stability of a graph in the exact layout, and refuse any difference.

    Args:
        graph: the ONNX file.
        encodings: texts to ask, at least one; `polyhead verify --stability` asks the golden ones.

    Raises:
        StabilityError: when a logit is not the same to the bit.
    """
    found = stability.measure(graph, encodings)
    if not found.passed:
        raise StabilityError(
            f"{graph.name}: a text's logits differ by up to {found.max_difference:.2g} between"
            f" batches of {listed(found.batch_sizes)} and {listed(found.threads)} threads, allowed"
            f" is 0 ({found.cpu}, onnxruntime {found.onnxruntime}). Try another version of"
            " onnxruntime, and please report both with the encoder's family."
        )
    return found
