"""How many of a head's decisions another model changes."""

from __future__ import annotations

import functools
import heapq
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from polyhead.heads import HeadSpec, decoder
from polyhead.heads.base import sigmoid, softmax, tempered_odds
from polyhead.heads.compress import PRICE, WORDS, WORTH, best, readable, sizes_of
from polyhead.heads.multilabel import THRESHOLD
from polyhead.heads.summary import means
from polyhead.text import words
from polyhead.text.encoding import Encoding
from polyhead_models.metrics import METRICS

SAME = 0.99
"""Vectors with this cosine, or a larger one, are the same."""

# Their decision is a set of items, each right or wrong by itself, as in their metric.
_OF_ITEMS = ("tokens.v1", "multilabel.v1", "compress.v1")
_OF_TEXTS = ("classification.v1", "answer.v1", "summary.v1")
CHOOSING = (*_OF_ITEMS, *_OF_TEXTS)
"""Kinds whose decisions have a next best choice; see `margin`."""

_ONE_SIDED = 0.05
_MOST_SHIFT = 50.0
_FORCE = 1e6  # more than any sum of probabilities

Margin = Callable[[Any], float]
"""How much more probable one of a text's decisions is than its next best choice, 0 to 1."""


@dataclass(frozen=True)
class Changes:
    """Decisions of two models on the same texts.

    Attributes:
        changed: how many of those that count differ.
        decisions: how many count.
        near_ties: how many do not count.
        near_ties_changed: how many of these differ.
    """

    changed: float = 0
    decisions: int = 0
    near_ties: int = 0
    near_ties_changed: int = 0

    @property
    def share(self) -> float:
        """Of the decisions that count, 0 to 1."""
        return self.changed / max(1, self.decisions)

    @property
    def interval(self) -> tuple[float, float]:
        """The share's lower and upper 95% confidence bound, each one-sided.

        Clopper & Pearson 1934, exact for decisions that are independent of each other.
        """
        k, n = self.changed, self.decisions
        low = stats.beta.ppf(_ONE_SIDED, k, n - k + 1) if k > 0 else 0.0
        high = stats.beta.ppf(1 - _ONE_SIDED, k + 1, n - k) if k < n else 1.0
        return float(low), float(high)


def compare(
    kind: str,
    results: Sequence[Any],
    others: Sequence[Any],
    margins: Sequence[Margin] | None = None,
    *,
    tie_margin: float = 0.0,
) -> Changes:
    """Count decisions that differ between two models on the same texts.

    A decision is what a text gets. A `tokens` head decides about each span, a `multilabel` head
    about each label and a `compress` head about each piece that it keeps: in a text with thirty
    spans one of them is not all. Of a span that has become
    another both models have one alone: that is one decision. An `embedding` is changed where the
    cosine of both vectors is below 0.99: a mean would hide the few texts that int8 moves far. For
    numbers, which decide nothing, 1 minus the kind's agreement, the concordance, as if it were a
    share of the texts.

    Args:
        kind: the heads' versioned kind.
        results: of one model.
        others: of the reference, in the same order.
        margins: of the reference's decisions, one function a text; see `margin`. None for a kind
            that has none.
        tie_margin: decisions with a smaller margin are near ties.
    """
    count = len(results)
    if kind == "embedding.v1":
        cosines = [np.dot(a.vector, b.vector) for a, b in zip(results, others, strict=True)]
        return Changes(sum(not cosine >= SAME for cosine in cosines), count)
    if kind not in CHOOSING:
        return Changes(count * max(0.0, 1 - METRICS[kind].agreement(results, others)), count)
    changed = decisions = near = near_changed = 0
    for own, other, of in zip(results, others, margins or [_sure] * count, strict=True):
        a, b = _items(kind, own), _items(kind, other)
        ties = {item for item in a | b if of(item) < tie_margin}
        changed += max(len(a - b - ties), len(b - a - ties))
        decisions += max(len(a - ties), len(b - ties))
        near += max(len(a & ties), len(b & ties))
        near_changed += max(len((a - b) & ties), len((b - a) & ties))
    return Changes(changed, decisions, near, near_changed)


def _items(kind: str, result: Any) -> set[Hashable]:
    return set(result.decision) if kind in _OF_ITEMS else {result.decision}


def _sure(_: Any) -> float:
    return math.inf


def margin(name: str, spec: HeadSpec, logits: NDArray[np.float32], encoding: Encoding) -> Margin:
    """How sure a model is of what it decides about one text, in probability at its temperature.

    | kind | margin |
    |---|---|
    | classification | the first label less the second |
    | multilabel | of each label: how far from its threshold |
    | tokens | of each span: the least of the first tag less the second, over its tokens and the one
      before and behind, where another tag would make another span of it |
    | answer | the best span or "no answer" less the next, with the threshold of the head |
    | summary | the last sentence that is taken less the first that is not |
    | compress | of each piece: what the whole loses, in the sum of its words' probabilities, when
      one of its words is left out, or the one before or behind is kept, or other sentences read |

    Kinds that are not among `CHOOSING` have no near ties.

    Args:
        name: of the head.
        spec: of the head.
        logits: of the text.
        encoding: of the text.
    """
    decode: Any = decoder(name, spec).decode  # options and results are each kind's own
    if spec.kind == "multilabel.v1":
        scores = decode(logits, encoding).scores
        thresholds = np.array(spec.thresholds or (THRESHOLD,) * len(spec.labels))
        if spec.temperature is not None:  # labels are given before it
            thresholds = tempered_odds(thresholds, np.array(spec.temperature))
        limits = dict(zip(spec.labels, thresholds.tolist(), strict=True))
        return lambda label: abs(scores[label] - limits[label])
    (temperature,) = spec.temperature or (1.0,)
    if spec.kind == "tokens.v1":
        return _span_margin(logits / temperature, encoding)
    if spec.kind == "compress.v1":
        return _piece_margin(spec, logits, encoding)
    choices: list[float] = []
    if spec.kind == "classification.v1":
        choices = list(decode(logits, encoding).scores.values())
    elif spec.kind == "answer.v1":
        best = decode(logits, encoding, n=2)
        shift = 0.0  # a head without a threshold always gives a span
        if spec.no_answer is not None:
            shift = math.exp(min(-spec.no_answer / temperature, _MOST_SHIFT))
        choices = [shift * best.no_answer, *(span.score for span in best.candidates)]
        choices = [choice / max(sum(choices), 1e-9) for choice in choices]
    elif spec.kind == "summary.v1":
        taken, every = decode(logits, encoding), decode(logits, encoding, ratio=1.0)
        ranked = sorted((sentence.score for sentence in every.sentences), reverse=True)
        choices = ranked[max(0, len(taken.sentences) - 1) :]
    first, *second = heapq.nlargest(2, choices) or [math.inf]
    found = first - second[0] if second else math.inf
    return lambda _: found


def _piece_margin(spec: HeadSpec, logits: NDArray[np.float32], encoding: Encoding) -> Margin:
    """Of a piece `(start, end)`, from logits `(tokens, 1)`."""
    text, spans, limit = encoding.text, words.split(encoding.text), spec.words or WORDS
    scores = sigmoid(means(logits[:, 0], encoding, spans))
    read, lead = readable(text, spans, scores, spec.sentences, limit)
    sizes = sizes_of(text, spans, read, in_characters=False)
    price = PRICE if spec.price is None else spec.price
    gains, spans = scores[read] - WORTH, [spans[i] for i in read.tolist()]

    def worth(forced: NDArray[np.float64]) -> float:
        """The best sum of gains, less the price of the pieces, when they are forced to these."""
        kept = best(forced, sizes, limit, price)
        return float(gains[kept].sum()) - price * (1 + int((np.diff(kept) > 1).sum()))

    @functools.cache
    def loss(word: int) -> float:
        """By the other choice for one word."""
        forced = gains.copy()
        forced[word] += -_FORCE if word in chosen else _FORCE
        return math.inf if len(spans) == 1 else worth(gains) - worth(forced)

    def of(piece: tuple[int, int]) -> float:
        start, end = piece
        inside = [i for i, (first, last) in enumerate(spans) if last > start and first < end]
        if not inside:  # another model's, in a sentence that is not read
            return lead
        around = range(max(0, inside[0] - 1), min(len(spans), inside[-1] + 2))
        return min(lead, *map(loss, around))

    chosen = set(best(gains, sizes, limit, price).tolist())
    return of


def _span_margin(logits: NDArray[np.float32], encoding: Encoding) -> Margin:
    """Of a span `(label, start, end)`, from logits `(tokens, tags)`."""
    rows = encoding.body
    if not len(rows):
        return _sure
    scores = np.sort(softmax(logits[rows]), axis=1)
    margins, offsets = scores[:, -1] - scores[:, -2], encoding.offsets[rows]

    def of(span: tuple[str, int, int]) -> float:
        _, start, end = span
        inside = np.flatnonzero((offsets[:, 1] > start) & (offsets[:, 0] < end))
        if not len(inside):
            return math.inf
        return float(margins[max(0, inside[0] - 1) : inside[-1] + 2].min())

    return of
