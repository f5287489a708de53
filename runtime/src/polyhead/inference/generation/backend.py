"""What a search needs of whatever computes a decoder's scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.generation import Generation

Floats = NDArray[np.float32]


class StepBackend(Protocol):
    """Two graphs of onnxruntime, or a PyTorch model.

    One whose rows have other bits together than alone says so by ``rows_alike = False``: then texts
    are written one at a time.

    Arrays of a list are in the order key, value of the decoder's first layer, key, value of its
    second, and so on. Rows of one call have equally long sources and equally many tokens.
    """

    def cross(self, states: Floats) -> list[Floats]:
        """What the decoder attends to: once for a text.

        Args:
            states: of the encoder, `(rows, source, hidden)`.

        Returns:
            Keys and values, `(rows, heads, source, head_size)` each.
        """
        ...

    def step(
        self,
        tokens: NDArray[np.int64],
        past: Sequence[Floats],
        cross: Sequence[Floats],
        source: NDArray[np.int64] | None,
        present: Sequence[Floats],
    ) -> tuple[Floats, Floats | None]:
        """Scores of the token that comes next.

        Args:
            tokens: the tokens that are new, `(rows, new)`.
            past: keys and values of all tokens before, `(rows, heads, past, head_size)` each; past
                may be 0.
            cross: as `cross` gave them.
            source: of a decoder that copies, the source's token ids, `(rows, source)`, -1 for what
                is not copied; None for others.
            present: is filled with keys and values of all tokens, the new ones too:
                `(rows, heads, past + new, head_size)` each, C-contiguous.

        Returns:
            Scores `(rows, vocabulary)`, which the caller may overwrite: logits, or of a decoder
            that copies log-probabilities; and of that one, how much of the probability is copied
            from each place of the source, `(rows, source)`.
        """
        ...

    def info(self) -> dict[str, Any]:
        """What really runs, as plain data."""
        ...


def names(spec: Generation, what: str) -> list[str]:
    """Of the inputs or outputs for keys and values, in their order; `what` as in ``"past"``."""
    return [f"{what}.{layer}.{kind}" for layer in range(spec.layers) for kind in ("key", "value")]
