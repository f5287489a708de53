"""Metrics of a model on labelled data; the same code for a checkpoint and a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from polyhead import Engine, InputError, Prediction
from polyhead.heads import HeadSpec
from polyhead.text.encoding import Input
from polyhead_models.data.examples import Example
from polyhead_models.errors import DataError
from polyhead_models.metrics import METRICS

_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class HeadFigures:
    """One head's metrics.

    Attributes:
        metric: name of the primary metric.
        value: the primary metric.
        figures: all metrics of the kind.
        texts: texts that had a reference.
        windowed: how many of them were longer than the encoder reads, and read in windows.
    """

    metric: str
    value: float
    figures: Mapping[str, float]
    texts: int
    windowed: int


def predict(engine: Engine, texts: Sequence[Input], *, label: str) -> Iterator[Prediction]:
    """Predictions for many texts, with a progress bar on stderr."""
    with tqdm(total=len(texts), desc=label, unit="text", leave=False) as bar:
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            try:
                yield from engine.predict(chunk)
            except InputError as problem:
                problem.index = None if problem.index is None else problem.index + start
                raise
            bar.update(len(chunk))


def inputs(examples: Iterable[Example]) -> list[Input]:
    """What an engine is asked for `examples`, in their order: each text, and its twin if any."""
    return [item for e in examples for item in (e.text, e.twin) if item is not None]


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
    examples = [e for e in examples if any(head in engine.heads for head in e.references)]
    return figures(engine.heads, examples, answers(engine, examples, label=label))


def answers(engine: Engine, examples: Sequence[Example], *, label: str) -> list[Prediction]:
    """Predictions in the order of `inputs(examples)`, with a progress bar on stderr.

    Raises:
        DataError: when a text cannot be answered; names file and line.
    """
    try:
        return list(predict(engine, inputs(examples), label=label))
    except InputError as problem:
        places = [e.where for e in examples for item in (e.text, e.twin) if item is not None]
        where = label if problem.index is None else places[problem.index]
        raise DataError(f"{where}: {problem}") from problem


def figures(
    heads: Mapping[str, HeadSpec],
    examples: Iterable[Example],
    predictions: Iterable[Prediction],
) -> dict[str, HeadFigures]:
    """Metrics of predictions in the order of `inputs(examples)`."""
    found = {}
    for name, rows in answered(heads, examples, predictions).items():
        metric = METRICS[heads[name].kind]
        if not rows or metric.primary is None:
            continue
        values = metric.score([row.result for row in rows], [row.reference for row in rows])
        found[name] = HeadFigures(
            metric=metric.primary,
            value=values[metric.primary],
            figures=values,
            texts=len(rows),
            windowed=sum(row.windows > 1 for row in rows),
        )
    return found


@dataclass(frozen=True, slots=True)
class Answered:
    """One head's result for one example, with its reference.

    Attributes:
        result: the head's result; for an example with a twin the results of both texts.
        reference: in the head's reference form.
        windows: windows that the (first) text was read in.
    """

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
        first = next(remaining)
        second = None if example.twin is None else next(remaining)
        for name, reference in example.references.items():
            if name in found:
                result = first[name] if second is None else (first[name], second[name])
                found[name].append(Answered(result, reference, first.windows))
    return found
