"""One input as the encoder reads it: token ids with offsets into the caller's own string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Input = str | tuple[str, str]
"""What an engine answers: a text, or a pair such as a question and the text to find it in."""


def flat(item: Input) -> str:
    """An input as one text, for sorting and digests: of a pair both, with a NUL between them."""
    return item if isinstance(item, str) else "\0".join(item)


def least_room(tokens: int) -> int:
    """Tokens of a window that the first text of a pair must leave to the second: a quarter.

    With less, a long second text would take very many windows.
    """
    return max(1, tokens // 4)


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """One input as the encoder reads it: in one window, or in several that overlap.

    Attributes:
        text: the caller's string, untouched; of a pair the second one.
        ids: token ids, int64 `(tokens,)`, of all windows one after another, special tokens
            included, never padded.
        offsets: int64 `(tokens, 2)`, start and end of each token in code points of `text`;
            `(0, 0)` where `special`.
        special: bool `(tokens,)`, True for tokens that stand for no part of `text`: special tokens,
            and those of the first text of a pair.
        truncated: True when tokens at the end were left out on the caller's demand.
        query: the first text of a pair; None for a single text.
        types: token type ids, int64 `(tokens,)`; None where all are 0.
        starts: index of each window's first token.
        firsts: which token of the whole text is the first in each window, counted without special
            tokens.
    """

    text: str
    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    special: NDArray[np.bool_]
    truncated: bool = False
    query: str | None = None
    types: NDArray[np.int64] | None = None
    starts: tuple[int, ...] = (0,)
    firsts: tuple[int, ...] = (0,)

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        """Whether the encoder reads the same of the same input."""
        if not isinstance(other, Encoding):
            return NotImplemented
        return self._plain() == other._plain() and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("ids", "offsets", "special", "token_types")
        )

    def __hash__(self) -> int:
        return hash(self._plain())

    def _plain(self) -> tuple[object, ...]:
        return self.text, self.query, self.truncated, self.starts, self.firsts

    @property
    def kind(self) -> Literal["text", "pair"]:
        """Which heads read it."""
        return "text" if self.query is None else "pair"

    @property
    def input(self) -> Input:
        """What the caller gave."""
        return self.text if self.query is None else (self.query, self.text)

    def feeds(self, inputs: Sequence[str]) -> dict[str, NDArray[np.int64]]:
        """What a graph with these inputs is fed for this text alone, each `(1, tokens)`."""
        known = {"input_ids": self.ids[None], "token_type_ids": self.token_types[None]}
        return {name: known[name] for name in inputs}

    @property
    def token_types(self) -> NDArray[np.int64]:
        """Token type ids, int64 `(tokens,)`, zeros where there are none."""
        return np.zeros_like(self.ids) if self.types is None else self.types

    @property
    def windows(self) -> list[slice]:
        """Where the tokens of each window are."""
        ends = (*self.starts[1:], len(self))
        return [slice(start, end) for start, end in zip(self.starts, ends, strict=True)]

    @property
    def owned(self) -> list[NDArray[np.int64]]:
        """For each window the indices of the text tokens that it speaks for.

        Every token of the text is in one of them. Of the windows that hold it, it is the one in
        which it is farthest from an edge.
        """
        bodies = [np.flatnonzero(~self.special[w]) + w.start for w in self.windows]
        found, low = [], self.firsts[0]
        for i, body in enumerate(bodies):
            end = self.firsts[i] + len(body)
            if i + 1 < len(bodies):
                end = (self.firsts[i + 1] + end + 1) // 2  # the middle of what the two share
            found.append(body[low - self.firsts[i] : end - self.firsts[i]])
            low = end
        return found

    @property
    def body(self) -> NDArray[np.int64]:
        """Indices of the text's tokens, each once, in the order of the text."""
        if len(self.starts) == 1:
            return np.flatnonzero(~self.special)
        return np.concatenate(self.owned)

    def split(self) -> list[Encoding]:
        """Each window as an encoding by itself, in the order of the text."""
        return [
            replace(
                self,
                ids=self.ids[window],
                offsets=self.offsets[window],
                special=self.special[window],
                types=None if self.types is None else self.types[window],
                starts=(0,),
                firsts=(first,),
            )
            for window, first in zip(self.windows, self.firsts, strict=True)
        ]

    def average(self, values: NDArray[Any]) -> NDArray[Any]:
        """The mean over windows, each weighted by the tokens that it speaks for.

        Args:
            values: `(windows, n)`; or `(n,)`, which is returned as it is.
        """
        if values.ndim == 1:
            return values
        counts = np.array([len(rows) for rows in self.owned], dtype=np.float64)
        return np.asarray(counts @ values / counts.sum(), dtype=values.dtype)

    def cut(self, tokens: int) -> Encoding:
        """The first `tokens` tokens, with the closing special tokens kept.

        `tokens` counts special tokens too. An encoding that fits is returned as it is. Of a pair
        only the second text is cut; where the first leaves no room, nothing of the second is left.
        """
        if len(self) <= tokens:
            return self
        opening, count, _ = self._parts()
        room = max(0, tokens - (len(self) - count))
        return replace(self._taken(opening, count, [(0, room)]), truncated=True)

    def room(self, tokens: int) -> int:
        """How many tokens of the text fit into a window of `tokens`; below 1 when none does."""
        return tokens - (len(self) - self._parts()[1])

    def windowed(self, tokens: int, stride: int) -> Encoding:
        """In as many windows of at most `tokens` tokens as it takes.

        An encoding that fits is returned as it is. Otherwise all windows have `tokens` tokens, and
        each holds all special tokens and the whole first text of a pair.

        Args:
            tokens: special tokens included; leaves `room` for at least one.
            stride: text tokens that neighbours share, at most half of the room; the last window
                ends with the text and may share more.
        """
        if len(self) <= tokens:
            return self
        opening, count, _ = self._parts()
        room = self.room(tokens)
        step = room - min(stride, room // 2)
        firsts = [*range(0, count - room, step), count - room]
        return self._taken(opening, count, [(first, first + room) for first in firsts])

    def _parts(self) -> tuple[int, int, int]:
        """Number of tokens before the text, of the text, and after it."""
        body = np.flatnonzero(~self.special)
        if not len(body):
            return len(self), 0, 0
        return int(body[0]), len(body), len(self) - 1 - int(body[-1])

    def _taken(self, opening: int, count: int, parts: Sequence[tuple[int, int]]) -> Encoding:
        """One window for each `(first, end)` among the tokens of the text."""
        frame = len(self) - count
        before, after = np.arange(opening), np.arange(opening + count, len(self))
        taken = [np.r_[before, opening + first : opening + end, after] for first, end in parts]
        starts = np.cumsum([0, *(frame + end - first for first, end in parts)])[:-1]
        keep = np.concatenate(taken)
        return replace(
            self,
            ids=self.ids[keep],
            offsets=self.offsets[keep],
            special=self.special[keep],
            types=None if self.types is None else self.types[keep],
            starts=tuple(starts.tolist()),
            firsts=tuple(first for first, _ in parts),
        )
