"""Metrics on labelled data, and their intervals; the same code for a checkpoint and a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

from polyhead import Engine, InputError, Prediction
from polyhead.heads import HeadSpec
from polyhead.text.encoding import Input
from polyhead_models.data.examples import Example
from polyhead_models.errors import DataError
from polyhead_models.metrics import METRICS
from polyhead_models.metrics.calibration import JudgingMetric

_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class HeadFigures:
    """One head's metrics.

    Attributes:
        metric: name of the primary metric.
        value: the primary metric.
        figures: all metrics of the kind; of one whose scores are probabilities also their expected
            calibration error, Brier score and log loss, ``"ece"``, ``"brier"`` and ``"log_loss"``.
        texts: texts that had a reference.
        windowed: how many of them were longer than the encoder reads, and read in windows.
    """

    metric: str
    value: float
    figures: Mapping[str, float]
    texts: int
    windowed: int


def inputs(examples: Iterable[Example]) -> list[Input]:
    """What an engine is asked for `examples`, in their order: each text, and its twin if any."""
    return [item for example in examples for item in example.inputs]


def evaluate(
    engine: Engine, examples: Sequence[Example], *, label: str = "evaluate"
) -> dict[str, HeadFigures]:
    """Metrics by head; heads without a reference in `examples` are absent.

    Args:
        engine: over a checkpoint or a bundle.
        examples: texts with references; those of heads that the engine lacks are passed over.
        label: of the progress bar.

    Raises:
        DataError: when a text cannot be answered, such as a question that is too long; names file
            and line.
    """
    return measured(engine.heads, ask(engine, examples, label=label))


def ask(engine: Engine, examples: Sequence[Example], *, label: str) -> dict[str, list[Answered]]:
    """Results with references by head, of what `evaluate` takes.

    Raises:
        DataError: as `evaluate` does.
    """
    examples = [e for e in examples if any(head in engine.heads for head in e.references)]
    return answered(engine.heads, examples, answers(engine, examples, label=label))


def answers(engine: Engine, examples: Sequence[Example], *, label: str) -> list[Prediction]:
    """Predictions in the order of `inputs(examples)`, with a progress bar on stderr.

    Raises:
        DataError: when a text cannot be answered; names file and line.
    """
    asked = [(e.where, item) for e in examples for item in e.inputs]
    found: list[Prediction] = []
    if not asked:
        return found
    with tqdm(total=len(asked), desc=label, unit="text", leave=False) as bar:
        for start in range(0, len(asked), _CHUNK):
            chunk = asked[start : start + _CHUNK]
            try:
                found += engine.predict([item for _, item in chunk])
            except InputError as problem:
                where = label if problem.index is None else chunk[problem.index][0]
                raise DataError(f"{where}: {problem}") from problem
            bar.update(len(chunk))
    return found


def figures(
    heads: Mapping[str, HeadSpec],
    examples: Iterable[Example],
    predictions: Iterable[Prediction],
) -> dict[str, HeadFigures]:
    """Metrics of predictions in the order of `inputs(examples)`."""
    return measured(heads, answered(heads, examples, predictions))


def measured(
    heads: Mapping[str, HeadSpec], results: Mapping[str, Sequence[Answered]]
) -> dict[str, HeadFigures]:
    """Metrics of results by head; heads without results, or without a metric, are absent."""
    found = {name: _measured(heads[name].kind, rows) for name, rows in results.items()}
    return {name: own for name, own in found.items() if own is not None}


def sliced(kind: str, rows: Iterable[Answered], column: str) -> dict[str, HeadFigures]:
    """One head's metrics by value of a column, in alphabetical order; empty cells are no value."""
    parts: dict[str, list[Answered]] = {}
    for row in rows:
        if (value := row.example.cell(column)) is not None:
            parts.setdefault(value, []).append(row)
    return {v: own for v in sorted(parts) if (own := _measured(kind, parts[v])) is not None}


def _measured(kind: str, rows: Sequence[Answered]) -> HeadFigures | None:
    metric = METRICS[kind]
    if not rows or metric.primary is None:
        return None
    both = [row.result for row in rows], [row.reference for row in rows]
    values = metric.score(*both)
    if isinstance(metric, JudgingMetric) and len(judged := metric.judged(*both)):
        values = {**values, **judged.figures}
    return HeadFigures(
        metric=metric.primary,
        value=values[metric.primary],
        figures=values,
        texts=len(rows),
        windowed=sum(row.windows > 1 for row in rows),
    )


@dataclass(frozen=True, slots=True)
class Answered:
    """One head's result for one example, with its reference.

    Attributes:
        example: what was asked.
        result: the head's result; for an example with a twin the results of both texts.
        reference: in the head's reference form.
        windows: windows that the (first) text was read in.
    """

    example: Example
    result: Any
    reference: Any
    windows: int


def answered(
    heads: Mapping[str, HeadSpec],
    examples: Iterable[Example],
    predictions: Iterable[Prediction],
) -> dict[str, list[Answered]]:
    """Results with references, by head, of predictions in the order of `inputs(examples)`.

    Raises:
        ValueError: when there are not as many predictions as inputs.
    """
    found: dict[str, list[Answered]] = {name: [] for name in heads}
    examples = list(examples)
    remaining = iter([p for _, p in zip(inputs(examples), predictions, strict=True)])
    for example in examples:
        own = [next(remaining) for _ in example.inputs]
        for name, reference in example.references.items():
            if name in found:
                result = own[0][name] if len(own) == 1 else tuple(each[name] for each in own)
                found[name].append(Answered(example, result, reference, own[0].windows))
    return found


_FEWEST, _MOST, _TEXTS = 200, 1000, 2_000_000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric over all texts, and the ends of its interval."""

    value: float
    low: float
    high: float


def paired(
    kind: str,
    first: Sequence[Any],
    second: Sequence[Any],
    references: Sequence[Any],
    *,
    level: float = 0.95,
) -> tuple[Estimate, Estimate, Estimate]:
    """The primary metric of two models, and the first minus the second; always the same draws.

    Percentile bootstrap over texts (Efron & Tibshirani 1993). Most metrics are ratios of sums over
    texts: a mean, or an F1 of counts. A draw is then how often each kind of text comes, where
    seqeval would take 0.2 s for 700 texts. Correlations and ranks are computed for each draw.

    Results and references are of the same texts in the same order, at least one; the kind is
    versioned, one with a primary metric. `level` is the share of the draws between the two ends.
    """
    metric, texts = METRICS[kind], len(references)

    def scores(chosen: NDArray[np.intp]) -> list[float]:
        known = [references[i] for i in chosen]
        both = [metric.score([side[i] for i in chosen], known) for side in (first, second)]
        a, b = (found[str(metric.primary)] for found in both)
        return [a, b, a - b]

    def scored(chosen: NDArray[np.intp], axis: int) -> NDArray[np.float64]:
        return np.apply_along_axis(scores, axis, chosen).T

    low = high = values = scores(np.arange(texts))  # of one text there is one draw
    if texts > 1:
        added = [part for side in (first, second) for part in sums(kind, side, references)]
        if added:
            tail = (1 - level) / 2
            low, high = np.quantile(_ratios(added), [tail, 1 - tail], axis=1)
        else:
            found = stats.bootstrap(
                [np.arange(texts)],
                scored,
                paired=True,
                vectorized=True,
                method="percentile",
                confidence_level=level,
                n_resamples=min(_MOST, max(_FEWEST, _TEXTS // texts)),
                batch=max(1, _TEXTS // texts),
                rng=0,
            )
            low, high = found.confidence_interval
    ends = zip(values, low, high, strict=True)
    a, b, difference = (Estimate(value=v, low=float(lo), high=float(hi)) for v, lo, hi in ends)
    return a, b, difference


def _ratios(sums: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Both models' ratios and their difference in many draws, float64 `(3, draws)`.

    Texts that add the same are one kind; how many a draw has of each is multinomial.
    """
    kinds, counts = np.unique(np.stack(sums, axis=1), axis=0, return_counts=True)
    random, texts = np.random.default_rng(0), int(counts.sum())
    drawn = random.multinomial(texts, counts / texts, size=_MOST)
    above, below, others_above, others_below = (drawn @ kinds).T
    a, b = above / np.maximum(below, 1), others_above / np.maximum(others_below, 1)
    return np.stack([a, b, a - b])


def sums(kind: str, results: Sequence[Any], references: Sequence[Any]) -> list[NDArray[np.float64]]:
    """What each text adds above and below the line, float64 `(texts,)`; empty: it is no ratio."""
    pairs = list(zip(results, references, strict=True))
    if kind in ("tokens.v1", "multilabel.v1"):  # F1: twice the right ones, by found and expected
        sets = [(set(result.decision), set(reference)) for result, reference in pairs]
        right = [2.0 * len(found & expected) for found, expected in sets]
        return [np.array(right), np.array([float(len(a) + len(b)) for a, b in sets])]
    if kind == "classification.v1":
        return [np.array([float(a.label == b) for a, b in pairs]), np.ones(len(pairs))]
    if kind in ("answer.v1", "summary.v1", "compress.v1", "generation.v1"):  # a mean over texts
        metric = METRICS[kind]
        values = [metric.score([a], [b])[str(metric.primary)] for a, b in pairs]
        return [np.array(values), np.ones(len(pairs))]
    return []
