"""Figures of a model on labelled data; the same code for a checkpoint and a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from polyhead import Engine, Prediction
from polyhead.heads import HeadSpec
from polyhead_models.data.examples import Example
from polyhead_models.metrics import METRICS

_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class HeadFigures:
    """One head's figures.

    Attributes:
        metric: name of the primary figure.
        value: the primary figure.
        figures: all figures of the kind.
        texts: texts that had a reference.
        truncated: how many of them were longer than the encoder reads, their end left out.
    """

    metric: str
    value: float
    figures: Mapping[str, float]
    texts: int
    truncated: int


def predict(engine: Engine, texts: Sequence[str], *, label: str) -> Iterator[Prediction]:
    """Predictions for many texts, with a progress bar on stderr."""
    with tqdm(total=len(texts), desc=label, unit="text", leave=False) as bar:
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            yield from engine.predict(chunk)
            bar.update(len(chunk))


def evaluate(
    engine: Engine, examples: Sequence[Example], *, label: str = "evaluate"
) -> dict[str, HeadFigures]:
    """Figures by head; heads without a reference in `examples` are absent.

    Args:
        engine: over a checkpoint or a bundle; one made with ``on_overflow="truncate"`` answers
            over-long texts too, and the figures count them.
        examples: texts with references.
        label: of the progress bar.
    """
    predictions = list(predict(engine, [e.text for e in examples], label=label))
    return figures(engine.heads, examples, predictions)


def figures(
    heads: Mapping[str, HeadSpec],
    examples: Iterable[Example],
    predictions: Iterable[Prediction],
) -> dict[str, HeadFigures]:
    """Figures of predictions that stand in the order of `examples`."""
    results: dict[str, list[tuple[Any, Any, bool]]] = {name: [] for name in heads}
    for example, prediction in zip(examples, predictions, strict=True):
        for name, reference in example.references.items():
            if name in results:
                results[name].append((prediction[name], reference, prediction.truncated))
    found = {}
    for name, rows in results.items():
        metric = METRICS[heads[name].kind]
        if not rows or metric.primary is None:
            continue
        values = metric.score([row[0] for row in rows], [row[1] for row in rows])
        found[name] = HeadFigures(
            metric=metric.primary,
            value=values[metric.primary],
            figures=values,
            texts=len(rows),
            truncated=sum(row[2] for row in rows),
        )
    return found
