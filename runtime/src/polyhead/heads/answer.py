"""answer.v1: where in a text a question is answered, or that it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.errors import InvalidSetting
from polyhead.heads.spec import HeadSpec
from polyhead.heads.trimming import trimmed
from polyhead.tokenizing import Encoding

LONGEST = 30
"""Most tokens of an answer in a head that does not say."""


@dataclass(frozen=True, slots=True)
class AnswerSpan:
    """A part of the text that may answer the question.

    Attributes:
        text: exactly `original[start:end]`.
        start: first character, in code points of the second text of the pair.
        end: one past the last character.
        score: its probability among all spans and "no answer", 0 to 1.
    """

    text: str
    start: int
    end: int
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"text": self.text, "start": self.start, "end": self.end, "score": self.score}


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
            "candidates": [candidate.to_dict() for candidate in self.candidates],
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

    def decode(self, logits: NDArray[np.float32], encoding: Encoding, *, n: int = 1) -> Answer:
        """Logits `(tokens, 2)`, float32, of starts and ends, into an answer.

        Args:
            logits: of all windows, one after another.
            encoding: question and text.
            n: most candidates in the result, at least 1.

        Raises:
            InvalidSetting: when `n` is below 1.
        """
        if type(n) is not int or n < 1:
            raise InvalidSetting(f"n={n!r}: expected a whole number of at least 1.")
        none = min(float(logits[start].sum()) for start in encoding.starts)
        spans = list(self._spans(logits, encoding))
        scores = np.concatenate([[none], *(scores for scores, _, _ in spans)])
        shifted = np.exp(scores - scores.max())
        probabilities = shifted / shifted.sum()
        firsts = np.concatenate([[0], *(firsts for _, firsts, _ in spans)]).astype(np.int64)
        lasts = np.concatenate([[0], *(lasts for _, _, lasts in spans)]).astype(np.int64)
        rows, candidates = self._best(scores, probabilities, firsts, lasts, encoding, n)
        margin = none - (float(scores[rows[0]]) if rows else -np.inf)
        if candidates and (self._threshold is None or margin <= self._threshold):
            best = candidates[0]
            found = (best.text, best.start, best.end, best.score)
        else:
            found = ("", 0, 0, float(probabilities[0]))
        return Answer(*found, float(probabilities[0]), margin, candidates)

    def _spans(
        self, logits: NDArray[np.float32], encoding: Encoding
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]]:
        """Score, first and last token of all spans of a window, by their length in tokens."""
        for window in encoding.windows:
            body = np.flatnonzero(~encoding.special[window]) + window.start
            starts, ends = logits[body, 0], logits[body, 1]
            for more in range(min(self._longest, len(body))):
                last = len(body) - more
                yield starts[:last] + ends[more:], body[:last], body[more:]

    @staticmethod
    def _best(
        scores: NDArray[np.float64],
        probabilities: NDArray[np.float64],
        firsts: NDArray[np.int64],
        lasts: NDArray[np.int64],
        encoding: Encoding,
        n: int,
    ) -> tuple[list[int], tuple[AnswerSpan, ...]]:
        """Rows and spans of the `n` best different parts of the text; windows may share some.

        Row 0 is "no answer".
        """
        rows: list[int] = []
        found: dict[tuple[int, int], AnswerSpan] = {}
        for row in (1 + np.argsort(-scores[1:], kind="stable")).tolist():
            start, end = trimmed(
                encoding.text,
                int(encoding.offsets[firsts[row], 0]),
                int(encoding.offsets[lasts[row], 1]),
            )
            if start < end and (start, end) not in found:
                text = encoding.text[start:end]
                rows.append(row)
                found[start, end] = AnswerSpan(text, start, end, float(probabilities[row]))
                if len(found) == n:
                    break
        return rows, tuple(found.values())
