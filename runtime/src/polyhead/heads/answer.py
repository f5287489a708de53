"""answer.v1: where in a text a question is answered, or that it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.head_spec import HeadSpec
from polyhead.heads.base import TextSpan, plain, trimmed
from polyhead.system.schema import whole_number
from polyhead.text.encoding import Encoding

LONGEST = 30
"""Most tokens of an answer in a head that does not say."""


@dataclass(frozen=True, slots=True)
class AnswerSpan(TextSpan):
    """May answer the question; `score` is its probability among all spans and "no answer"."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The best answer.

    Attributes:
        text: exactly `original[start:end]`; empty when the text does not answer the question.
        start: first character, in code points of the second text of the pair; 0 without an answer.
        end: one past the last character; 0 without an answer.
        score: probability of the answer, or of there being none, 0 to 1.
        no_answer: probability that there is none, 0 to 1.
        margin: how far the logits of "no answer" are above those of the best span; a head tuned on
            questions without answers gives none above its threshold.
        candidates: the `n` best spans, the best first, whether or not there is an answer.
    """

    text: str
    start: int
    end: int
    score: float
    no_answer: float
    margin: float
    candidates: tuple[AnswerSpan, ...]

    @property
    def decision(self) -> tuple[int, int]:
        """Start and end."""
        return self.start, self.end

    def with_offsets(self, place: Callable[[int], int]) -> Answer:
        """The same answer and candidates with other offsets."""
        return replace(
            self,
            start=place(self.start),
            end=place(self.end),
            candidates=tuple(
                replace(c, start=place(c.start), end=place(c.end)) for c in self.candidates
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "text": self.text,
            "start": self.start,
            "end": self.end,
            "score": self.score,
            "no_answer": self.no_answer,
            "candidates": [plain(candidate) for candidate in self.candidates],
        }

    def __str__(self) -> str:
        return f"{self.text or '(no answer)'}  {self.score:.2f}"


class AnswerDecoder:
    """The best span of all windows against "no answer", after Devlin et al. 2018, section 4.3.

    A span's logit is that of its first token as a start plus that of its last as an end; those of
    "no answer" are at the first token of a window, and the window surest of an answer counts.
    Windows compete by their logits; probabilities are over all spans of all windows.
    """

    width = 2
    options = ("n",)

    def __init__(self, spec: HeadSpec) -> None:
        self._longest = spec.longest or LONGEST
        self._threshold = spec.no_answer
        (self._temperature,) = spec.temperature or (1.0,)

    def decode(self, logits: NDArray[np.float32], encoding: Encoding, *, n: int = 1) -> Answer:
        """Logits `(tokens, 2)`, float32, of starts and ends, into an answer.

        Args:
            logits: of all windows, one after another.
            encoding: question and text.
            n: most candidates in the result, at least 1.

        Raises:
            InvalidSetting: when `n` is below 1.
        """
        whole_number("n", n)
        none = min(float(logits[start].sum()) for start in encoding.starts)
        total, found = none / self._temperature, list[tuple[float, int, int]]()
        for window in encoding.windows:  # a very long text has too many spans for one array
            scores, firsts, lasts = self._spans(logits, encoding, window)
            if len(scores):
                total = float(np.logaddexp(total, _log_sum(scores / self._temperature)))
                found += _best(scores, firsts, lasts, encoding, n)
        # Windows may share a span; the first of equals, as a sort keeps them.
        best = {(start, end): score for score, start, end in sorted(found, key=lambda f: f[0])}
        order = sorted(found, key=lambda f: -f[0])
        kept = list(dict.fromkeys((start, end) for _, start, end in order))[:n]
        candidates = tuple(
            AnswerSpan(encoding.text[s:e], s, e, self._score(best[s, e], total)) for s, e in kept
        )
        margin = none - (best[kept[0]] if kept else -np.inf)
        no_answer = self._score(none, total)
        if candidates and (self._threshold is None or margin <= self._threshold):
            first = candidates[0]
            return Answer(
                first.text, first.start, first.end, first.score, no_answer, margin, candidates
            )
        return Answer("", 0, 0, no_answer, no_answer, margin, candidates)

    def _score(self, logit: float, total: float) -> float:
        """The probability of a span or "no answer" among all, at the head's temperature."""
        return min(1.0, float(np.exp(logit / self._temperature - total)))

    def _spans(
        self, logits: NDArray[np.float32], encoding: Encoding, window: slice
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Score, first and last token of all spans of a window, the shortest first."""
        body = np.flatnonzero(~encoding.special[window]) + window.start
        starts, ends = logits[body, 0], logits[body, 1]
        longest = min(self._longest, len(body))
        places = [(len(body) - more, more) for more in range(longest)]
        empty = np.empty(0, np.int64)
        return (
            np.concatenate([empty, *(starts[:last] + ends[more:] for last, more in places)]),
            np.concatenate([empty, *(body[:last] for last, _ in places)]),
            np.concatenate([empty, *(body[more:] for _, more in places)]),
        )


def _log_sum(scores: NDArray[np.float64]) -> float:
    largest = float(scores.max())
    return largest + float(np.log(np.exp(scores - largest).sum()))


def _best(
    scores: NDArray[np.float64],
    firsts: NDArray[np.int64],
    lasts: NDArray[np.int64],
    encoding: Encoding,
    n: int,
) -> list[tuple[float, int, int]]:
    """Score, start and end of the `n` best different parts of the text in one window."""
    found: dict[tuple[int, int], float] = {}
    for row in np.argsort(-scores, kind="stable").tolist():
        start, end = trimmed(
            encoding.text,
            int(encoding.offsets[firsts[row], 0]),
            int(encoding.offsets[lasts[row], 1]),
        )
        if start < end and (start, end) not in found:
            found[start, end] = float(scores[row])
            if len(found) == n:
                break
    return [(score, start, end) for (start, end), score in found.items()]
