"""tokens.v1: labelled spans of a text (entities, slots), decoded from one tag a token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.head_spec import HeadSpec
from polyhead.heads.base import plain, probabilities, trimmed
from polyhead.text.encoding import Encoding

_FORBIDDEN = -1e9
_WITH_BEGIN = ("bio", "iob")


@dataclass(frozen=True, slots=True)
class Span:
    """A labelled part of the text.

    Attributes:
        label: the entity label.
        text: exactly `original[start:end]`.
        start: first character, in code points of the caller's string.
        end: one past the last character.
        score: mean probability of the span's tags, 0 to 1.
    """

    label: str
    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Entities:
    """The spans of a text, in the order of the text; they never overlap."""

    spans: tuple[Span, ...]

    @property
    def decision(self) -> tuple[tuple[str, int, int], ...]:
        """Label, start and end of every span."""
        return tuple((s.label, s.start, s.end) for s in self.spans)

    def with_offsets(self, place: Callable[[int], int]) -> Entities:
        """The same spans with other offsets."""
        return Entities(
            tuple(replace(s, start=place(s.start), end=place(s.end)) for s in self.spans)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"spans": [plain(span) for span in self.spans]}

    def __str__(self) -> str:
        return "  ".join(f"{s.label}={s.text!r}" for s in self.spans) or "(none)"


def tags(labels: tuple[str, ...], scheme: str = "bio") -> tuple[str, ...]:
    """The tag of each logit: ``O, B-first, I-first, B-second, …``; else ``O, first, second, …``."""
    if scheme not in _WITH_BEGIN:
        return ("O", *labels)
    return ("O", *(f"{prefix}-{label}" for label in labels for prefix in "BI"))


class TokensDecoder:
    """Viterbi over the legal BIO sequences, so that an illegal one is never returned.

    Schemes other than BIO have no illegal sequences.
    """

    def __init__(self, spec: HeadSpec) -> None:
        self._labels = spec.labels
        self._scheme = spec.scheme
        self._begins = spec.scheme in _WITH_BEGIN
        (self._temperature,) = spec.temperature or (1.0,)
        self.width = len(tags(spec.labels, spec.scheme))

    def decode(self, logits: NDArray[np.float32], encoding: Encoding) -> Entities:
        """Logits `(tokens, tags)`, float32, into spans; no token gives no span.

        Of several windows, each token's logits are those of the window in which it is farthest
        from an edge.
        """
        rows = encoding.body.tolist()
        best = logits.argmax(axis=1).tolist()
        path = [best[row] for row in rows]
        if not self._legal(path):
            path = self._viterbi(logits[rows])
        if not any(path):  # most texts: all that follows is for spans
            return Entities(())
        return Entities(tuple(self._spans(path, logits, rows, encoding)))

    def _viterbi(self, scores: NDArray[np.float32]) -> list[int]:
        """The most probable legal tag of each token, for logits `(tokens, tags)`.

        Logits and log-probabilities of a token differ by one number, so that the best path is one.
        """
        first, *rest = scores.tolist()
        total = first[:1] + [x for begin in first[1::2] for x in (begin, _FORBIDDEN)]
        back: list[list[int]] = []
        for own in rest:
            # Any tag may come before O and B-x, so the best one; before I-x only B-x and I-x.
            top = max(total)
            best_tag = total.index(top)
            steps, reached = [best_tag], [top + own[0]]
            for begin in range(1, len(own), 2):
                stays = total[begin + 1] > total[begin]
                steps += best_tag, begin + stays
                reached += top + own[begin], total[begin + stays] + own[begin + 1]
            back.append(steps)
            total = reached
        tag = total.index(max(total))
        path = [tag]
        for steps in reversed(back):
            tag = steps[tag]
            path.append(tag)
        return path[::-1]

    def _legal(self, path: Sequence[int]) -> bool:
        """Whether the best tag of each token already is a legal sequence: no search needed then."""
        before = 0
        for tag in path:
            # Before I-x, an even number, comes I-x or B-x, one less.
            if tag and tag % 2 == 0 and before not in (tag, tag - 1):
                return self._scheme != "bio"
            before = tag
        return True

    def _spans(
        self,
        path: Sequence[int],
        logits: NDArray[np.float32],
        rows: Sequence[int],
        encoding: Encoding,
    ) -> Iterator[Span]:
        taken = 0  # two tokens can be parts of one character, or a letter and its mark
        for first, last, label in self._runs(path, rows, encoding):
            start, end = trimmed(
                encoding.text,
                max(taken, int(encoding.offsets[rows[first], 0])),
                int(encoding.offsets[rows[last], 1]),
            )
            if start < end:
                taken = end
                scores = [
                    probabilities(logits[rows[i]].tolist(), self._temperature)[path[i]]
                    for i in range(first, last + 1)
                ]
                score = sum(scores) / len(scores)
                yield Span(self._labels[label], encoding.text[start:end], start, end, score)

    def _runs(
        self, path: Sequence[int], rows: Sequence[int], encoding: Encoding
    ) -> Iterator[tuple[int, int, int]]:
        """First token, last token and label of the tokens that belong together."""
        labels = [(tag + 1) // 2 for tag in path] if self._begins else path
        first = 0
        for i, label in enumerate(labels):
            goes_on = i + 1 < len(labels) and labels[i + 1] == label
            if goes_on and not self._begins_at(path[i + 1], rows[i : i + 2], encoding):
                continue
            if label:
                yield first, i, label - 1
            first = i + 1

    def _begins_at(self, tag: int, tokens: Sequence[int], encoding: Encoding) -> bool:
        """Whether the second of two neighbours with one label, which has the tag, begins a span."""
        if self._begins:
            return tag % 2 == 1
        if self._scheme != "words":
            return False
        end, start = int(encoding.offsets[tokens[0], 1]), int(encoding.offsets[tokens[1], 0])
        return start > end or encoding.text[start : start + 1].isspace()
