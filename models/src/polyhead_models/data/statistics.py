"""What is in the data: sizes, labels, lengths, duplicates, and texts that are in two splits."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyhead.text.encoding import Input
from polyhead_models import encoder as encoders
from polyhead_models.config import SPLITS, Config
from polyhead_models.data import examples, sources
from polyhead_models.data.bad_rows import MOST, BadRows
from polyhead_models.data.examples import Example
from polyhead_models.data.steps import Schedule, schedule
from polyhead_models.heads.answer import CHARACTER, AnswerSpans
from polyhead_models.heads.summary import Salient

logger = logging.getLogger(__name__)

_FEW = 3

Texts = Sequence[tuple[Hashable, Any]]
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
        blank_edges: spans that begin or end with a blank, which references and answers leave out.
        cut_words: spans that begin or end inside a word.
        cut_example: the first of them, with its place; None where there is none.
    """

    rows: int
    target: Labels | NumberRange | Spans | None
    tokens: Lengths
    duplicates: Repeated
    blank_edges: int
    cut_words: int
    cut_example: str | None


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Rows of `split` whose text is in the split `also_in`, too."""

    split: str
    also_in: str
    repeated: Repeated


def of_head(examples: Iterable[Example], head: str) -> Texts:
    """The texts of one head with its references; texts without one are left out."""
    return [
        (e.text if e.twin is None else e.inputs, e.references[head])
        for e in examples
        if head in e.references
    ]


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


def repeated(texts: Texts, others: Texts | None = None) -> Repeated:
    """Rows of `texts` whose text is in `others`, or in an earlier row where there are none."""
    known: dict[Hashable, list[Any]] = {}
    for text, reference in others or ():
        known.setdefault(text, []).append(reference)
    rows = differing = 0
    for text, reference in texts:
        before = known.get(text, ())
        rows += bool(before)
        differing += bool(before) and reference not in before
        if others is None:
            known.setdefault(text, []).append(reference)
    return Repeated(rows=rows, differing=differing)


def leaks(splits: Mapping[str, Texts]) -> list[Leak]:
    """Every split against each before it; pairs that share nothing are left out."""
    found = [
        Leak(split=later, also_in=earlier, repeated=repeated(splits[later], splits[earlier]))
        for earlier, later in itertools.combinations(splits, 2)
    ]
    return [leak for leak in found if leak.repeated.rows]


def lone(splits: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """By split the labels that training lacks; of training those that no other split has.

    Splits without any are left out.
    """
    learnt = set(splits["train"])
    others = {split: set(labels) for split, labels in splits.items() if split != "train"}
    found = {"train": learnt.difference(*others.values())} if others else {}
    found |= {split: labels - learnt for split, labels in others.items()}
    return {split: sorted(labels) for split, labels in found.items() if labels}


def cut_words(examples: Iterable[Example], head: str) -> list[str]:
    """Spans that begin or end between two letters or digits of a word, each with its place.

    Chinese, Japanese and Korean have no blanks between their words: no span cuts one there.
    """
    found = []
    for example in examples:
        text = example.text if isinstance(example.text, str) else example.text[1]
        for start, end in _spans(example.references.get(head)):
            if _inside(text, start) or _inside(text, end):
                before, after = text[max(0, start - 10) : start], text[end : end + 10]
                found.append(f"{example.where}: {before}[{text[start:end]}]{after}")
    return found


def _inside(text: str, at: int) -> bool:
    around = text[max(0, at - 1) : at + 1]
    return 0 < at < len(text) and around.isalnum() and not CHARACTER.search(around)


def _spans(reference: Any) -> list[tuple[int, int]]:
    if isinstance(reference, AnswerSpans):
        return list(reference.spans)
    items = reference if isinstance(reference, tuple) else ()
    return [(item[1], item[2]) for item in items if not isinstance(item, str)]


def _labels(reference: Any) -> list[str] | None:
    """The labels of a reference: itself, those of a set, or those of spans; None: it has none."""
    if isinstance(reference, str):
        return [reference]
    if not isinstance(reference, tuple):
        return None
    return [item if isinstance(item, str) else str(item[0]) for item in reference]


@dataclass(frozen=True, kw_only=True)
class HeadReport:
    """One head: its statistics by split, and the texts that its splits share.

    Attributes:
        source: of its rows.
        splits: statistics by split.
        leaks: texts that are in two splits.
        rare: labels with fewer than 3 training rows, and their number.
        lone: by split the labels that training lacks; of training those that no other split has.
    """

    source: str
    splits: Mapping[str, SplitStatistics]
    leaks: Sequence[Leak]
    rare: Mapping[str, int]
    lone: Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """All sources and heads.

    Attributes:
        rows: number of rows by source and split, sources that no head reads included.
        heads: by name; heads that are not trained are absent.
        max_tokens: longest input of the encoder.
        schedule: length and rates of a training; exact but for texts longer than `max_tokens`.
    """

    rows: Mapping[str, Mapping[str, int]]
    heads: Mapping[str, HeadReport]
    max_tokens: int
    schedule: Schedule


def report(config: Config, *, max_errors: int = MOST) -> DataReport:
    """Read all data of a configuration and count.

    Args:
        config: names the data.
        max_errors: most bad rows that an error lists, at least 1.

    Raises:
        DataError: when the data cannot be used.
        EncoderError: when the encoder has no tokenizer here.
    """
    rows: dict[str, dict[str, int]] = {name: {} for name in config.data}
    read: dict[str, dict[str, list[Example]]] = {name: {} for name in config.data}
    with BadRows(max_errors) as bad:
        for source, data in config.data.items():
            for split in SPLITS:
                if found := sources.load(data, split, bad):
                    logger.info("%s: %s: %s rows", source, split, f"{len(found):,}")
                    rows[source][split] = len(found)
                    read[source][split] = examples.of_source(config, source, split, found, bad)
    known = _token_counts(
        config, [e for made in read.values() for split in made.values() for e in split]
    )
    limit = config.encoder.max_tokens
    heads = {
        name: _head_report(name, head.data, read[head.data], known, limit)
        for name, head in config.heads.items()
        if head.data is not None
    }
    learnt = [e.inputs for splits in read.values() for e in splits.get("train", ())]
    tokens = [sum(min(known[text], limit) for text in texts) for texts in learnt]
    planned = schedule(config.training, tokens)
    return DataReport(rows=rows, heads=heads, max_tokens=limit, schedule=planned)


def _token_counts(config: Config, every: Iterable[Example]) -> dict[Input, int]:
    """Tokens of each text, which is tokenised once whoever reads it."""
    named = config.encoder
    tokenizer = encoders.tokenizer(named.name, trust_remote_code=named.trust_remote_code)
    texts = list(dict.fromkeys(text for example in every for text in example.inputs))
    logger.info("tokenising %s texts", f"{len(texts):,}")
    encodings = tokenizer.reading(named.special_tokens).encode(texts)
    return dict(zip(texts, map(len, encodings), strict=True))


def _head_report(
    name: str,
    source: str,
    read: Mapping[str, Sequence[Example]],
    known: Mapping[Input, int],
    limit: int,
) -> HeadReport:
    splits: dict[str, SplitStatistics] = {}
    texts: dict[str, Texts] = {}
    counts: dict[str, Counter[str]] = {}
    for split, made in read.items():
        own = [example for example in made if name in example.references]
        references = [example.references[name] for example in own]
        texts[split] = of_head(own, name)
        cut = cut_words(own, name)
        counts[split] = Counter(label for r in references for label in set(_labels(r) or ()))
        splits[split] = SplitStatistics(
            rows=len(own),
            target=target(references),
            tokens=lengths([known[text] for example in own for text in example.inputs], limit),
            duplicates=repeated(texts[split]),
            blank_edges=sum(example.blank_edges.get(name, 0) for example in own),
            cut_words=len(cut),
            cut_example=cut[0] if cut else None,
        )
    few = sorted((n, label) for label, n in counts["train"].items() if n < _FEW)
    return HeadReport(
        source=source,
        splits=splits,
        leaks=leaks(texts),
        rare={label: n for n, label in few},
        lone=lone(counts),
    )
