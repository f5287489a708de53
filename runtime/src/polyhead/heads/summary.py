"""summary.v1: the sentences of a text that say most of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.head_spec import HeadSpec
from polyhead.errors import InvalidSetting
from polyhead.heads.base import TextSpan, plain, sigmoid
from polyhead.system.schema import whole_number
from polyhead.text.encoding import Encoding

K = 3
"""Sentences in a summary when neither the call nor the head says."""


@dataclass(frozen=True, slots=True)
class Sentence(TextSpan):
    """A sentence of the text; `score` is how salient it is."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The most salient sentences, in the order of the text."""

    sentences: tuple[Sentence, ...]

    @property
    def text(self) -> str:
        """The sentences with a blank between them."""
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def decision(self) -> tuple[tuple[int, int], ...]:
        """Start and end of every sentence."""
        return tuple((s.start, s.end) for s in self.sentences)

    def with_offsets(self, place: Callable[[int], int]) -> Summary:
        """The same sentences with other offsets."""
        return Summary(
            tuple(replace(s, start=place(s.start), end=place(s.end)) for s in self.sentences)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"sentences": [plain(sentence) for sentence in self.sentences]}

    def __str__(self) -> str:
        return "  ".join(f"{s.text!r} {s.score:.2f}" for s in self.sentences) or "(none)"


class SummaryDecoder:
    """A sentence's logit is the mean of its tokens' logits; the highest ones are taken."""

    width = 1
    options = ("k", "ratio")

    def __init__(self, spec: HeadSpec) -> None:
        self._k = spec.sentences or K

    def decode(
        self,
        logits: NDArray[np.float32],
        encoding: Encoding,
        *,
        k: int | None = None,
        ratio: float | None = None,
    ) -> Summary:
        """Logits `(tokens, 1)`, float32, into sentences; a text without any gives none.

        Args:
            logits: of each token; of several windows that count in which it is farthest from
                an edge.
            encoding: the text; `polyhead.text.sentences` splits it.
            k: most sentences, at least 1; the head's own number when neither is given. A short text
                has fewer.
            ratio: instead of `k`, the share of the sentences, above 0 to 1; at least one is taken.

        Raises:
            InvalidSetting: when both are given, or one is out of its range.
        """
        from polyhead.text import sentences  # late: its patterns take 7% of polyhead's import

        spans = sentences.split(encoding.text)
        scores = sigmoid(means(logits[:, 0], encoding, spans))
        # The first of equals: the order must not hang on how a sort breaks ties.
        best = np.argsort(-scores, kind="stable")[
            : _count(len(spans), self._k if k is None and ratio is None else k, ratio)
        ]
        return Summary(
            tuple(
                Sentence(encoding.text[start:end], start, end, float(scores[i]))
                for i in np.sort(best).tolist()
                for start, end in [spans[i]]
            )
        )


def means(
    values: NDArray[np.float32], encoding: Encoding, spans: list[tuple[int, int]]
) -> NDArray[np.float32]:
    """The mean of the tokens of each span.

    Args:
        values: one for each token, `(tokens,)`.
        encoding: whose tokens they are.
        spans: `(start, end)` in the order of the text, not overlapping.

    Returns:
        float32 `(spans,)`; the lowest value of all for a span without a token.
    """
    rows = encoding.body
    owner = owners(encoding.offsets[rows], spans)
    inside = owner >= 0
    counts = np.bincount(owner[inside], minlength=len(spans))
    sums = np.bincount(owner[inside], weights=values[rows][inside], minlength=len(spans))
    lowest = float(values[rows].min()) if len(rows) else 0.0
    return np.where(counts > 0, sums / np.maximum(counts, 1), lowest).astype(np.float32)


def owners(offsets: NDArray[np.int64], spans: list[tuple[int, int]]) -> NDArray[np.int64]:
    """For each token the index of the span that holds its last character; -1 for none.

    Args:
        offsets: `(tokens, 2)`, start and end in code points.
        spans: `(start, end)` in the order of the text, not overlapping.
    """
    if not spans:
        return np.full(len(offsets), -1, dtype=np.int64)
    bounds = np.array(spans, dtype=np.int64)
    # A token may begin with the blank before its word: look at its last character.
    last = np.maximum(offsets[:, 0], offsets[:, 1] - 1)
    index = np.searchsorted(bounds[:, 0], last, side="right") - 1
    return np.where((index >= 0) & (last < bounds[np.maximum(index, 0), 1]), index, -1)


def _count(sentences: int, k: int | None, ratio: float | None) -> int:
    if k is not None and ratio is not None:
        raise InvalidSetting(f"k={k!r}, ratio={ratio!r}: give one of them.")
    if ratio is not None:
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= 1:
            raise InvalidSetting(f"ratio={ratio!r}: expected a number above 0 and at most 1.")
        return max(1, round(ratio * sentences))
    return whole_number("k", k)
