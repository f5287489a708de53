"""regression.v1: a number for a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.head_spec import HeadSpec
from polyhead.text.encoding import Encoding


@dataclass(frozen=True, slots=True)
class Regression:
    """A number.

    Attributes:
        value: in the unit of the training targets; may lie outside their range.
    """

    value: float

    @property
    def decision(self) -> None:
        """Always None: a number is near another or far from it; where to cut is the caller's."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"value": self.value}

    def __str__(self) -> str:
        return f"{self.value:.6g}"


class RegressionDecoder:
    """From the scale that was learnt to the unit of the targets."""

    width = 1
    needs_offsets = False

    def __init__(self, spec: HeadSpec) -> None:
        self._offset, self._factor = spec.scale or (0.0, 1.0)

    def decode(self, logits: NDArray[np.float32], encoding: Encoding) -> Regression:
        """One logit `(1,)`, float32, into `logit * factor + offset`, computed in float64.

        Of several windows, `(windows, 1)`, the logits are averaged, each window weighted by its
        share of the text.
        """
        return Regression(float(encoding.average(logits)[0]) * self._factor + self._offset)
