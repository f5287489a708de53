"""Does the float graph give the PyTorch model's numbers?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polyhead.inference.session import OnnxSession
from polyhead_export.errors import ParityError
from polyhead_models.model import MultiHeadModel, TorchBackend

TOLERANCE = 1e-4


def check(model: MultiHeadModel, graph: Path, *, max_tokens: int, seed: int = 0) -> float:
    """Compare all outputs at the shapes (1, 1), (1, max), (3, 7) and (7, 33).

    Args:
        model: in evaluation mode.
        graph: the float graph on disk.
        max_tokens: longest input; shapes above it are left out.
        seed: of the random token ids.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        ParityError: when it is above `TOLERANCE`; names head and shape.
    """
    session, torch_model = OnnxSession(graph), TorchBackend(model)
    outputs = [spec.output for spec in model.specs.values()]
    vocabulary = int(model.encoder.config.vocab_size)
    random = np.random.default_rng(seed)
    largest = 0.0
    for rows, tokens in ((1, 1), (1, max_tokens), (3, 7), (7, 33)):
        if tokens > max_tokens:
            continue
        ids = random.integers(5, vocabulary, (rows, tokens), dtype=np.int64)
        known = {"input_ids": ids, "token_type_ids": random.integers(0, 2, ids.shape)}
        feeds = {name: known[name] for name in model.inputs}
        expected = torch_model.run(outputs, feeds)
        found = session.run(outputs, feeds)
        for name, a, b in zip(outputs, found, expected, strict=True):
            error = float(np.abs(a - b).max()) if a.shape == b.shape else np.inf
            if not error <= TOLERANCE:
                raise ParityError(
                    f"{name} at {rows} x {tokens} tokens: the graph differs from the PyTorch model"
                    f" by {error:.2g}, allowed {TOLERANCE:.0e}. Please report the encoder's family."
                )
            largest = max(largest, error)
    return largest
