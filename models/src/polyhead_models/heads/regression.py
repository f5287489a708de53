"""regression.v1: a number for a text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from polyhead.heads import HeadSpec
from polyhead.text.encoding import Encoding
from polyhead_models.heads.base import NumericNetwork


class RegressionNetwork(NumericNetwork):
    """A pooled vector into one logit: the number on a scale of mean 0 and deviation 1.

    Mean squared error on that scale, so that the loss is as large as the other heads' whatever the
    unit. A reference is the number in its own unit.
    """

    kind: ClassVar[str] = "regression.v1"
    activation: ClassVar[Literal["softmax", "sigmoid", "span", "identity"]] = "identity"
    default_pooling: ClassVar[Literal["cls", "mean", "max"] | None] = "mean"

    @classmethod
    def outputs(cls, spec: HeadSpec, width: int) -> int:
        """One."""
        return 1

    @classmethod
    def reference(cls, raw: Any, text: str) -> float:
        """A finite number, or a text that is one."""
        try:
            if isinstance(raw, str | int | float) and not isinstance(raw, bool):
                value = float(raw)
                if math.isfinite(value):
                    return value
        except (ValueError, OverflowError):
            pass
        raise ValueError(f"found {raw!r}, expected a finite number")

    @classmethod
    def fitted(cls, spec: HeadSpec, references: Sequence[float]) -> HeadSpec:
        """With the scale on which the references have mean 0 and deviation 1.

        References that are all the same keep their unit: the factor is 1.
        """
        values = np.asarray(references, dtype=np.float64)
        largest = float(np.abs(values).max()) or 1.0  # divided by it, no square overflows
        offset = float(np.mean(values / largest)) * largest
        factor = float(np.std(values / largest)) * largest if values.min() < values.max() else 1.0
        return replace(spec, scale=(offset, factor or 1.0))

    def target(self, reference: float, encoding: Encoding) -> Tensor:
        """The number on the head's scale: float32 `(1,)`."""
        offset, factor = self.spec.scale or (0.0, 1.0)
        return torch.tensor([(reference - offset) / factor])

    def criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        return nn.functional.mse_loss(logits, targets)
