"""Graphs in the padded layout: how they are run, and whether padding changes their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.inference.backend import Backend
from polyhead.inference.session import OnnxSession
from polyhead_export.errors import ParityError
from polyhead_export.passes.padding_mask import ATTENTION_MASK
from polyhead_models.model import MultiHeadModel, TorchBackend

_MORE = 3


class PaddedBackend:
    """A padded graph as the back end of an engine: every row is padded by three tokens.

    So its answers, measured like those of any graph, are those that a padded batch gets.
    """

    def __init__(self, backend: Backend, *, max_tokens: int, pad: int = 0) -> None:
        """Wrap the session of a padded graph.

        Args:
            backend: with the input ``attention_mask``.
            max_tokens: longest row; rows of this length are not padded.
            pad: token id to pad with; answers do not depend on it.
        """
        self._backend, self._max_tokens, self._pad = backend, max_tokens, pad
        self.inputs = tuple(name for name in backend.inputs if name != ATTENTION_MASK)

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]:
        """Logits of the tokens that count; see `polyhead.inference.backend.Backend.run`."""
        rows, tokens = next(iter(feeds.values())).shape
        more = ((0, 0), (0, max(0, min(_MORE, self._max_tokens - tokens))))
        padded = {n: np.pad(f, more, constant_values=self._pad) for n, f in feeds.items()}
        if "token_type_ids" in padded:
            padded["token_type_ids"] = np.pad(feeds["token_type_ids"], more)
        padded[ATTENTION_MASK] = np.pad(np.ones((rows, tokens), np.int64), more)
        arrays = self._backend.run(outputs, padded)
        return [array[:, :tokens] if array.ndim == 3 else array for array in arrays]

    def info(self) -> dict[str, Any]:
        """That of the session."""
        return self._backend.info()


def check(
    model: MultiHeadModel, graph: Path, *, max_tokens: int, tolerance: float, seed: int = 0
) -> float:
    """Compare all outputs of a padded batch of mixed lengths with the model, row by row, unpadded.

    Padding is filled with random token ids, and every row is long enough once not to be padded.

    Args:
        model: in evaluation mode.
        graph: the padded graph on disk.
        max_tokens: longest row.
        tolerance: the largest difference of a logit that is allowed, relative to the output's
            largest absolute logit where that is above 1.
        seed: of the random token ids.

    Returns:
        The largest difference, relative in that sense.

    Raises:
        ParityError: when it is above `tolerance`, or a logit is not finite; names output, tokens
            and padding.
    """
    session, trained = OnnxSession(graph), TorchBackend(model)
    outputs = [spec.output for spec in model.specs.values()]
    random = np.random.default_rng(seed)
    largest = 0.0
    for longest in sorted({min(n, max_tokens) for n in (1, 7, 33, max_tokens)}):
        lengths = sorted({n for n in (1, 2, 5, longest - 1, longest) if 0 < n <= longest})
        shape = (len(lengths), longest)
        ids = random.integers(5, int(model.encoder.config.vocab_size), shape, dtype=np.int64)
        known = {"input_ids": ids, "token_type_ids": random.integers(0, 2, shape)}
        feeds = {name: known[name] for name in model.inputs}
        mask = (np.arange(longest) < np.array(lengths)[:, None]).astype(np.int64)
        found = session.run(outputs, {**feeds, ATTENTION_MASK: mask})
        for row, tokens in enumerate(lengths):
            alone = {name: feed[row : row + 1, :tokens] for name, feed in feeds.items()}
            for name, a, b in zip(outputs, found, trained.run(outputs, alone), strict=True):
                answer = a[row, :tokens] if a.ndim == 3 else a[row]
                error = float(np.abs(answer - b[0]).max()) / max(1.0, float(np.abs(b).max()))
                if not error <= tolerance:
                    raise ParityError(
                        f"{name} of {tokens} tokens padded to {longest}: {graph.name} differs from"
                        f" the PyTorch model by {error:.2g}, allowed {tolerance:.0e}. Please report"
                        " the encoder's family."
                    )
                largest = max(largest, error)
    return largest
