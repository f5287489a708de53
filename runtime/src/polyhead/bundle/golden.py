"""golden.json: texts with the ids, logits and results of the trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class GoldenExample:
    """One text and what the PyTorch model made of it.

    Attributes:
        text: the input, a text or a pair of them.
        ids: its token ids.
        logits: by head that reads such an input, nested lists in the shape of its logits.
        results: by head, the decoded result as plain data.
    """

    text: str | tuple[str, ...]
    ids: tuple[int, ...]
    logits: Mapping[str, tuple[Any, ...]]
    results: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) and len(self.text) != 2:
            raise ValueError(
                f"text: found {len(self.text)} texts, expected one, or two for a pair."
            )

    @property
    def input(self) -> str | tuple[str, str]:
        """The text, or both texts of a pair."""
        return self.text if isinstance(self.text, str) else (self.text[0], self.text[1])


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
