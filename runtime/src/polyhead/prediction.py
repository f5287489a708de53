"""What an engine returns for one text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from polyhead.heads.base import Result


@dataclass(frozen=True, slots=True)
class Prediction(Mapping[str, Any]):
    """The results of all asked heads for one text, by head name.

    Attributes:
        text: the caller's string, untouched; of a pair the second one.
        results: by head name, in the engine's order.
        tokens: tokens that the encoder read, special tokens included.
        windows: windows that the text was read in.
        truncated: True when the end of the text was left out on the caller's demand.
        query: the first text of a pair; None for a single text.
    """

    text: str
    results: Mapping[str, Result]
    tokens: int
    windows: int = 1
    truncated: bool = False
    query: str | None = None

    def __getitem__(self, head: str) -> Any:
        return self.results[head]

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def utf16(self) -> Prediction:
        """The same prediction with all offsets in UTF-16 code units, for JavaScript.

        There ``text.slice(start, end)`` is then the text of a span. Call it once: a second call
        would take the new offsets for code points.
        """
        place = utf16_offsets(self.text)
        results: dict[str, Result] = {}
        for name, result in self.results.items():
            moved = getattr(result, "with_offsets", None)
            results[name] = result if moved is None else moved(place)
        return replace(self, results=results)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            **({} if self.query is None else {"query": self.query}),
            "text": self.text,
            "tokens": self.tokens,
            "windows": self.windows,
            "truncated": self.truncated,
            "heads": {name: result.to_dict() for name, result in self.results.items()},
        }

    def __str__(self) -> str:
        width = max((len(name) for name in self.results), default=0)
        return "\n".join(f"{name:<{width}}  {result}" for name, result in self.results.items())


def utf16_offsets(text: str) -> Callable[[int], int]:
    """A function that turns an offset in code points of `text` into one in UTF-16 code units.

    JavaScript, Java and C# count in these. Characters above U+FFFF, such as most emoji, are two
    units, all others one. The function takes 0 to ``len(text)``.
    """
    if text.isascii() or max(text) <= "\uffff":
        return lambda offset: offset
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    pairs = np.concatenate([[0], np.cumsum(points > 0xFFFF)])
    return lambda offset: offset + int(pairs[offset])
