"""What an engine needs of whatever computes the logits: names in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Backend(Protocol):
    """A session of onnxruntime, a PyTorch model, or another engine over the same graph."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        ...

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, NDArray[np.int64]]
    ) -> list[NDArray[np.float32]]:
        """Logits for a batch.

        Args:
            outputs: names of the wanted outputs.
            feeds: by input name, int64 `(batch, tokens)`; all rows have the same length.

        Returns:
            One float32 array an output: `(batch, …)` or `(batch, tokens, …)`.
        """
        ...

    def info(self) -> dict[str, Any]:
        """What really runs, as plain data."""
        ...
