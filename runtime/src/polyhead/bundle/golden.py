"""golden.json: texts with the ids, logits and results of the trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class GoldenExample:
    """One text and what the PyTorch model made of it.

    Attributes:
        text: the input.
        ids: its token ids.
        logits: by head, nested lists in the shape of the head's logits.
        results: by head, the decoded result as plain data.
    """

    text: str
    ids: tuple[int, ...]
    logits: Mapping[str, tuple[Any, ...]]
    results: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Golden:
    """The golden set of a bundle.

    Attributes:
        tolerance: by graph file, then by head: the largest absolute difference of a logit from the
            trained model's that the graph may show.
        examples: at least one.
    """

    tolerance: Mapping[str, Mapping[str, float]]
    examples: tuple[GoldenExample, ...]

    def __post_init__(self) -> None:
        if not self.examples:
            raise ValueError("examples: empty, expected at least one.")
