"""What a model's files leave open, for checkpoints and for ONNX folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pooling = Literal["cls", "mean", "max"]
Problem = Literal["single_label_classification", "multi_label_classification", "regression"]


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Options of an import.

    Attributes:
        head: name of the head; None takes the kind's.
        pair: whether a classifier reads pairs of texts, as one for entailment does.
        problem: what the labels of a classifier are; None takes what config.json says.
        pooling: of a plain encoder; None takes the mean.
        max_tokens: longest input; None takes what the files say.
    """

    head: str | None = None
    pair: bool = False
    problem: Problem | None = None
    pooling: Pooling | None = None
    max_tokens: int | None = None
