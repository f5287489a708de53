"""embedding.v1: one unit vector for a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.heads.spec import HeadSpec
from polyhead.tokenizing import Encoding


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A vector for search and clustering.

    Attributes:
        vector: float32 `(hidden,)`, of length 1, so that a dot product is the cosine.
    """

    vector: NDArray[np.float32]

    @property
    def decision(self) -> None:
        """Always None: a vector decides nothing by itself."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"vector": self.vector.tolist()}

    def __str__(self) -> str:
        start = ", ".join(f"{x:+.3f}" for x in self.vector[:4])
        return f"{len(self.vector)} numbers: {start}, …"


class EmbeddingDecoder:
    """L2 normalisation."""

    width = None

    def __init__(self, spec: HeadSpec) -> None:
        """Nothing of the spec is needed."""

    def decode(self, logits: NDArray[np.float32], encoding: Encoding) -> Embedding:
        """A pooled vector `(hidden,)`, float32, scaled to length 1; a zero vector stays zero."""
        length = float(np.sqrt(np.dot(logits, logits)))
        return Embedding(np.asarray(logits / max(length, 1e-12), dtype=np.float32))
