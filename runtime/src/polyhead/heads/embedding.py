"""embedding.v1: one unit vector for a text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.head_spec import HeadSpec
from polyhead.errors import InvalidSetting
from polyhead.heads.base import short_repr
from polyhead.text.encoding import Encoding


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A vector for search and clustering.

    Attributes:
        vector: float32 `(hidden,)`, or `(dimensions,)` where the call asked for fewer, of length 1,
            so that a dot product is the cosine.
    """

    vector: NDArray[np.float32]

    def __eq__(self, other: object) -> bool:
        """Whether all numbers are the same."""
        if not isinstance(other, Embedding):
            return NotImplemented
        return np.array_equal(self.vector, other.vector)

    def __hash__(self) -> int:
        return hash(tuple(self.vector.tolist()))

    @property
    def decision(self) -> None:
        """Always None: a vector decides nothing by itself."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"vector": self.vector.tolist()}

    __repr__ = short_repr

    def __str__(self) -> str:
        start = ", ".join(f"{x:+.3f}" for x in self.vector[:4])
        return f"{len(self.vector)} numbers: {start}, …"


class EmbeddingDecoder:
    """L2 normalisation."""

    width = None
    needs_offsets = False
    options = ("dimensions",)

    def __init__(self, spec: HeadSpec) -> None:
        """Take the sizes to which the vector may be cut."""
        self._dimensions = spec.dimensions

    def decode(
        self,
        logits: NDArray[np.float32],
        encoding: Encoding,
        *,
        dimensions: int | None = None,
    ) -> Embedding:
        """A pooled vector `(hidden,)`, float32, scaled to length 1; a zero vector stays zero.

        Of several windows, `(windows, hidden)`, the vectors are averaged first, each window
        weighted by its share of the text.

        Args:
            logits: what the graph gives.
            encoding: the text.
            dimensions: keep the first so many numbers, one of the sizes that the head was trained
                for (Matryoshka, Kusupati et al. 2022); None keeps all.

        Raises:
            InvalidSetting: for a size that the head was not trained for.
        """
        vector = encoding.average(logits)
        if dimensions is not None:
            if type(dimensions) is not int or dimensions not in self._dimensions:
                known = ", ".join(map(str, self._dimensions))
                raise InvalidSetting(
                    f"dimensions={dimensions!r}: this head was trained for"
                    f" {known or 'its full size only; leave the option out'}."
                )
            vector = vector[:dimensions]
        length = np.float32(max(math.sqrt(vector.dot(vector)), 1e-12))
        return Embedding(np.asarray(vector / length, dtype=np.float32))
