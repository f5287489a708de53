"""What is in the data: sizes, labels, lengths, duplicates, and texts that are in two splits."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyhead.text.encoding import Input
from polyhead_models.data.examples import Example
from polyhead_models.heads.answer import AnswerSpans
from polyhead_models.heads.summary import Salient

Texts = Sequence[tuple[Input, Any]]
"""Texts, or pairs of them, with their references."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """How often the labels of a head are in its references.

    Attributes:
        distinct: number of labels.
        counts: the most frequent ones, the first the most frequent; for spans, spans by label.
        without: references that hold no label: texts without a span, for one.
    """

    distinct: int
    counts: Mapping[str, int]
    without: int


@dataclass(frozen=True, kw_only=True)
class NumberRange:
    """The numbers of a regression head, in their own unit."""

    minimum: float
    mean: float
    maximum: float


@dataclass(frozen=True, kw_only=True)
class Spans:
    """The spans of a head without labels: answers, or salient sentences.

    Attributes:
        count: spans, each place in a text once.
        without: references that hold none: questions that the text does not answer.
    """

    count: int
    without: int


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Lengths in tokens, special tokens included.

    Attributes:
        p50: median.
        p95: 95th percentile.
        max: the longest.
        over: share of the texts that are longer than the encoder reads.
    """

    p50: int
    p95: int
    max: int
    over: float


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Texts that were there before, character by character.

    Attributes:
        rows: rows whose text is in an earlier row, or in the other split.
        differing: those of them whose reference is that of none of the other rows.
    """

    rows: int
    differing: int


@dataclass(frozen=True, kw_only=True)
class SplitStatistics:
    """One head's texts in one split; only rows with a target count.

    Attributes:
        rows: number of rows.
        target: labels, numbers or spans; None for references of another form.
        tokens: lengths of the texts.
        duplicates: texts that repeat inside the split.
    """

    rows: int
    target: Labels | NumberRange | Spans | None
    tokens: Lengths
    duplicates: Repeated


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Rows of `split` whose text is in the split `also_in`, too."""

    split: str
    also_in: str
    repeated: Repeated


def of_head(examples: Iterable[Example], head: str) -> Texts:
    """The texts of one head with its references; texts without one are left out."""
    return [
        (e.text if e.twin is None or isinstance(e.text, tuple) else (e.text, e.twin), reference)
        for e in examples
        if head in e.references
        for reference in [e.references[head]]
    ]


def of_split(texts: Texts, tokens: Sequence[int], max_tokens: int) -> SplitStatistics:
    """Statistics of one head in one split.

    Args:
        texts: of the head; at least one.
        tokens: length of each text in tokens.
        max_tokens: longest input of the encoder.
    """
    return SplitStatistics(
        rows=len(texts),
        target=target([reference for _, reference in texts]),
        tokens=lengths(tokens, max_tokens),
        duplicates=duplicates(texts),
    )


def target(references: Sequence[Any], top: int = 10) -> Labels | NumberRange | Spans | None:
    """Labels of the references with the `top` most frequent, the range of numbers, or spans."""
    if references and all(isinstance(reference, float) for reference in references):
        low, mean, high = min(references), float(np.mean(references)), max(references)
        return NumberRange(minimum=low, mean=mean, maximum=high)
    if references and all(isinstance(reference, AnswerSpans | Salient) for reference in references):
        counted = [len(reference.spans) for reference in references]
        return Spans(count=sum(counted), without=counted.count(0))
    found = [_labels(reference) for reference in references]
    if any(labels is None for labels in found):
        return None
    counts = Counter(label for labels in found for label in labels or ())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Labels(
        distinct=len(counts), counts=dict(ranked[:top]), without=sum(not x for x in found)
    )


def lengths(tokens: Sequence[int], max_tokens: int) -> Lengths:
    """Percentiles, by the nearest length that occurs; `tokens` holds at least one."""
    p50, p95 = np.percentile(tokens, [50, 95], method="inverted_cdf")
    over = sum(length > max_tokens for length in tokens) / len(tokens)
    return Lengths(p50=int(p50), p95=int(p95), max=max(tokens), over=over)


def duplicates(texts: Texts) -> Repeated:
    """Rows whose text is in an earlier row of the same split."""
    before: dict[Input, list[Any]] = {}
    rows = differing = 0
    for text, reference in texts:
        known = before.setdefault(text, [])
        rows += bool(known)
        differing += bool(known) and reference not in known
        known.append(reference)
    return Repeated(rows=rows, differing=differing)


def shared(texts: Texts, others: Texts) -> Repeated:
    """Rows of `texts` whose text is in `others`, too."""
    known: dict[Input, list[Any]] = {}
    for text, reference in others:
        known.setdefault(text, []).append(reference)
    found = [(text, reference) for text, reference in texts if text in known]
    differing = sum(reference not in known[text] for text, reference in found)
    return Repeated(rows=len(found), differing=differing)


def leaks(splits: Mapping[str, Texts]) -> list[Leak]:
    """Every split against each before it; pairs that share nothing are left out."""
    found = [
        Leak(split=later, also_in=earlier, repeated=shared(splits[later], splits[earlier]))
        for earlier, later in itertools.combinations(splits, 2)
    ]
    return [leak for leak in found if leak.repeated.rows]


def _labels(reference: Any) -> list[str] | None:
    """The labels of a reference: itself, those of a set, or those of spans; None: it has none."""
    if isinstance(reference, str):
        return [reference]
    if not isinstance(reference, tuple):
        return None
    return [item if isinstance(item, str) else str(item[0]) for item in reference]
