"""The exported graph against the PyTorch model, head by head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from polyhead import Engine, Prediction
from polyhead.bundle import HeadQuality
from polyhead.heads import HeadSpec, decoder
from polyhead.text.encoding import Encoding, Input
from polyhead_export.decisions import changed
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import HeadFigures, answered, figures, inputs, paired
from polyhead_models.metrics import METRICS
from polyhead_models.metrics.chance import chance

_CHUNK = 256


@dataclass(frozen=True)
class ModelAnswers:
    """One model's logits, by head and input, what they mean, and the metrics they reach."""

    logits: Mapping[str, Sequence[NDArray[np.float32]]]
    predictions: Sequence[Prediction]
    metrics: Mapping[str, HeadFigures]


@dataclass(frozen=True)
class GraphComparison:
    """The exported graph next to the PyTorch model.

    Attributes:
        exported: what the graph answered.
        quality: by head; heads that no text is for are absent.
        logit_errors: by head, absolute differences of all its logits, float32 `(logits,)`.
    """

    exported: ModelAnswers
    quality: Mapping[str, HeadQuality]
    logit_errors: Mapping[str, NDArray[np.float32]]


class ReferenceModel:
    """What the PyTorch model answers to some texts: run once, compared with many graphs.

    Of embeddings, the share of changed vectors is over the texts and short queries made of them.
    Queries are shorter than what is searched, and int8 is least exact on a word or two: see
    `short_queries`.
    """

    def __init__(self, engine: Engine, examples: Sequence[Example], split: str) -> None:
        """Run all texts.

        Args:
            engine: over the PyTorch model.
            examples: texts with references; at least one.
            split: where they are from.
        """
        self.heads = engine.heads
        self._count = len(inputs(examples))
        embeds = any(_reads_queries(spec) for spec in self.heads.values())
        self.examples = [*examples, *(short_queries(examples) if embeds else ())]
        self.split = split
        self._encodings = engine.encode(inputs(self.examples))
        self.answers = self._ask(engine, "PyTorch")
        self._rows = {name: self._texts(name, spec) for name, spec in self.heads.items()}

    def compare(self, engine: Engine) -> GraphComparison:
        """Run a graph on the same texts. Intervals take longer: see `with_intervals`."""
        exported = self._ask(engine, "exported")
        errors = {
            name: np.concatenate(
                [
                    np.abs(exported.logits[name][i] - self.answers.logits[name][i]).ravel()
                    for i in rows
                ]
            )
            for name, rows in self._rows.items()
            if rows
        }
        quality = {name: self._quality(name, exported, errors[name]) for name in errors}
        return GraphComparison(exported, quality, errors)

    def with_intervals(self, comparison: GraphComparison) -> GraphComparison:
        """A comparison with bootstrap intervals of the drops."""
        sides = [
            answered(self.heads, self.examples, side.predictions)
            for side in (self.answers, comparison.exported)
        ]
        found = dict(comparison.quality)
        for name, measured in comparison.quality.items():
            if measured.metric is not None:
                kind = self.heads[name].kind
                before, after = ([row.result for row in side[name]] for side in sides)
                references = [row.reference for row in sides[0][name]]
                _, _, drop = paired(kind, before, after, references)
                found[name] = replace(measured, drop_interval=(100 * drop.low, 100 * drop.high))
        return replace(comparison, quality=found)

    def _ask(self, engine: Engine, label: str) -> ModelAnswers:
        """Run each text once, and decode with the encodings of the PyTorch model's run."""
        logits = _logits(engine, inputs(self.examples), label)
        predictions = _predictions(self.heads, self._encodings, logits)
        metrics = figures(self.heads, self.examples, predictions)
        return ModelAnswers(logits, predictions, metrics)

    def _quality(
        self, name: str, exported: ModelAnswers, errors: NDArray[np.float32]
    ) -> HeadQuality:
        rows, kind = self._rows[name], self.heads[name].kind
        queries = range(self._count, len(exported.predictions))
        every = [*rows, *(queries if _reads_queries(self.heads[name]) else ())]
        ours, theirs = (
            [side.predictions[i][name] for i in every] for side in (exported, self.answers)
        )
        fp32, own = (side.metrics.get(name) for side in (self.answers, exported))
        references = [e.references[name] for e in self.examples if name in e.references]
        return HeadQuality(
            split=self.split,
            texts=len(rows),
            metric=fp32.metric if fp32 else None,
            fp32=fp32.value if fp32 else None,
            exported=own.value if own else None,
            agreement=METRICS[kind].agreement(ours[: len(rows)], theirs[: len(rows)]),
            max_logit_error=float(errors.max(initial=0.0)),
            mean_logit_error=float(errors.mean()) if errors.size else 0.0,
            changed=changed(kind, ours, theirs),
            at_chance=fp32 is not None and fp32.value <= chance(kind, references),
        )

    def _texts(self, name: str, spec: HeadSpec) -> list[int]:
        """Positions of the inputs that a head is measured on.

        Those that have a reference of it: texts of other heads' sources are nothing that it is for.
        All that it can read where none has, as for an embedding that was not trained.
        """
        examples = [e for e in self.examples for item in (e.text, e.twin) if item is not None]
        predictions = self.answers.predictions[: self._count]
        readable = [i for i, p in enumerate(predictions) if name in p]
        return [i for i in readable if name in examples[i].references] or readable


def short_queries(examples: Sequence[Example]) -> list[Example]:
    """The first word or the first two, by turns, of each text that has more; without references."""
    found: dict[str, None] = {}
    for i, text in enumerate(inputs(examples)):
        words = text.split() if isinstance(text, str) else []
        if len(words) > 1 + i % 2:
            found[" ".join(words[: 1 + i % 2])] = None
    return [Example(f"query {i}", "queries", text, {}) for i, text in enumerate(found)]


def _reads_queries(spec: HeadSpec) -> bool:
    return spec.kind == "embedding.v1" and spec.input == "text"


def _predictions(
    heads: Mapping[str, HeadSpec],
    encodings: Sequence[Encoding],
    logits: Mapping[str, Sequence[NDArray[np.float32]]],
) -> list[Prediction]:
    decoders = {name: decoder(name, spec) for name, spec in heads.items()}
    found = []
    for i, encoding in enumerate(encodings):
        results = {
            name: decoders[name].decode(logits[name][i], encoding)
            for name, spec in heads.items()
            if spec.input == encoding.kind
        }
        windows = len(encoding.starts)
        found.append(Prediction(encoding.text, results, len(encoding), windows))
    return found


def _logits(
    engine: Engine, texts: Sequence[Input], label: str
) -> dict[str, list[NDArray[np.float32]]]:
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in engine.heads}
    with tqdm(total=len(texts), desc=label, unit="text", leave=False) as bar:
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            for name, rows in engine.logits(chunk).items():
                found[name] += rows
            bar.update(len(chunk))
    return found
