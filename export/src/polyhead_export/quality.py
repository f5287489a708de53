"""The exported graph against the PyTorch model, head by head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from polyhead import Engine, Prediction
from polyhead.bundle import HeadQuality
from polyhead.heads import HeadSpec, decoder
from polyhead.text.encoding import Encoding, Input
from polyhead_export.decisions import CHOOSING, Changes, Margin, compare, margin
from polyhead_export.temperatures import LabelledLogits, with_temperature
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import Answered, HeadFigures, answered, inputs, measured, paired
from polyhead_models.metrics import METRICS
from polyhead_models.metrics.chance import chance

_CHUNK = 256
_SAMPLE, _LEAST = 64, 1e-6
_NO_LOGITS = np.empty(0, np.float32)


@dataclass(frozen=True)
class ModelAnswers:
    """What one model answers to texts.

    Attributes:
        logits: by head and input.
        predictions: what they mean, by input.
        scored: results with their references, by head.
        metrics: what these reach, by head.
    """

    logits: Mapping[str, Sequence[NDArray[np.float32]]]
    predictions: Sequence[Prediction]
    scored: Mapping[str, Sequence[Answered]]
    metrics: Mapping[str, HeadFigures]


@dataclass(frozen=True)
class GraphComparison:
    """The exported graph next to the PyTorch model.

    Attributes:
        labelled: what the graph gave for texts with a reference, by head.
        quality: by head; heads that no text is for are absent.
    """

    labelled: Mapping[str, Sequence[LabelledLogits]]
    quality: Mapping[str, HeadQuality]


class ReferenceModel:
    """What the PyTorch model answers to some texts: run once, compared with many graphs.

    Of embeddings, the share of changed vectors is over the texts and short queries made of them.
    Queries are shorter than what is searched, and int8 is least exact on a word or two: see
    `short_queries`.
    """

    def __init__(
        self, engine: Engine, examples: Sequence[Example], split: str, *, tie_margin: float = 0.0
    ) -> None:
        """Run all texts.

        Args:
            engine: over the PyTorch model.
            examples: texts with references; at least one.
            split: where they are from.
            tie_margin: decisions of the model with a smaller margin are near ties.
        """
        self.heads, self.split, self.tie_margin = engine.heads, split, tie_margin
        self._count = len(inputs(examples))
        embeds = any(_reads_queries(spec) for spec in self.heads.values())
        self._examples = [*examples, *(short_queries(examples) if embeds else ())]
        self._inputs = inputs(self._examples)
        self._references = [e.references for e in self._examples for _ in inputs([e])]
        self._encodings = engine.encode(self._inputs)
        self._answers = self._ask(engine, "PyTorch")
        self._rows = {name: self._texts(name, spec) for name, spec in self.heads.items()}
        self._margins = {
            name: self._margins_of(name) for name in self._rows if self.heads[name].kind in CHOOSING
        }

    def compare(self, engine: Engine) -> GraphComparison:
        """Run a graph on the same texts."""
        exported = self._ask(engine, "exported")
        return GraphComparison(
            {name: self._labelled(name, exported) for name in self.heads},
            {name: self._quality(name, exported) for name, rows in self._rows.items() if rows},
        )

    def disturbance(self, engine: Engine, heads: Iterable[str]) -> float:
        """How close a graph comes to changing decisions, on some of the texts; 0 for not at all.

        The mean over logits, of a tag or label over the first two choices, of how far they moved
        over how far they are from the border; at most 1 each. Smooth, where the share of changed
        decisions is a few texts.

        Args:
            engine: over the graph.
            heads: to look at.
        """
        found: list[float] = []
        for name in heads:
            rows = self._rows[name]
            some = rows[:: -(-len(rows) // _SAMPLE)]
            if self.heads[name].generation is not None:
                answers = engine.predict([self._inputs[i] for i in some], heads=[name])
                expected = (self._answers.predictions[i] for i in some)
                both = zip(answers, expected, strict=True)
                found += [float(a[name].decision != b[name].decision) for a, b in both]
                continue
            own = engine.logits([self._inputs[i] for i in some])[name]
            found += [
                _moved(self.heads[name].kind, self._answers.logits[name][i], logits)
                for i, logits in zip(some, own, strict=True)
            ]
        return float(np.mean(found))

    def _ask(self, engine: Engine, label: str) -> ModelAnswers:
        """Run each text once, and decode with the encodings of the PyTorch model's run.

        Heads that write are asked by themselves: their answers are not in any logits.
        """
        writing = [n for n, spec in self.heads.items() if spec.generation is not None]
        others = {n: spec for n, spec in self.heads.items() if n not in writing}
        logits = _logits(engine, list(others), self._inputs, label)
        logits |= {name: [_NO_LOGITS] * len(self._inputs) for name in writing}
        decoders = {name: decoder(name, spec) for name, spec in others.items()}
        written = iter(_written(engine, writing, self._encodings, label))
        predictions = []
        for i, encoding in enumerate(self._encodings):
            results = {
                name: decoders[name].decode(logits[name][i], encoding)
                for name, spec in others.items()
                if spec.input == encoding.kind
            }
            if writing and encoding.kind == "text":
                results |= next(written).results
            windows = len(encoding.starts)
            predictions.append(Prediction(encoding.text, results, len(encoding), windows))
        scored = answered(self.heads, self._examples, predictions)
        return ModelAnswers(logits, predictions, scored, measured(self.heads, scored))

    def _quality(self, name: str, exported: ModelAnswers) -> HeadQuality:
        rows, kind, reference = self._rows[name], self.heads[name].kind, self._answers
        errors = self._errors(name, exported)
        queries = range(self._count, len(self._inputs))
        every = [*rows, *(queries if _reads_queries(self.heads[name]) else ())]
        ours, theirs = (
            [side.predictions[i][name] for i in every] for side in (exported, reference)
        )
        fp32, own = (side.metrics.get(name) for side in (reference, exported))
        before, after = reference.scored[name], exported.scored[name]
        margins = self._margins.get(name)
        found = compare(kind, ours, theirs, margins, tie_margin=self.tie_margin)
        return HeadQuality(
            split=self.split,
            texts=len(rows),
            metric=fp32.metric if fp32 else None,
            fp32=fp32.value if fp32 else None,
            exported=own.value if own else None,
            agreement=METRICS[kind].agreement(ours[: len(rows)], theirs[: len(rows)]),
            max_logit_error=float(errors.max(initial=0.0)),
            mean_logit_error=float(errors.mean()) if errors.size else 0.0,
            changed=found.share,
            drop_interval=drop_interval(kind, before, after) if fp32 else None,
            at_chance=fp32 is not None
            and fp32.value <= chance(kind, [row.reference for row in before]),
            decisions=found.decisions if isinstance(found.changed, int) else None,
            changed_interval=found.interval,
            near_ties=None if margins is None else found.near_ties,
            near_ties_changed=found.near_ties_changed,
        )

    def _errors(self, name: str, exported: ModelAnswers) -> NDArray[np.float32]:
        """Absolute differences of all logits of a head, `(logits,)`; infinity for no number."""
        own, expected = (
            np.concatenate([side.logits[name][i].ravel() for i in self._rows[name]])
            for side in (exported, self._answers)
        )
        found = np.abs(np.where(np.isfinite(own), own, np.inf) - expected)
        return np.asarray(found, np.float32)

    def _margins_of(self, name: str) -> list[Margin]:
        """How sure the model is of each text, at a temperature fitted on its own logits."""
        spec = self.heads[name]
        head = with_temperature(name, spec, self._labelled(name, self._answers), self.split)
        spec = spec if head is None else head.spec
        logits, encodings = self._answers.logits[name], self._encodings
        return [margin(name, spec, logits[i], encodings[i]) for i in self._rows[name]]

    def _labelled(self, name: str, answers: ModelAnswers) -> list[LabelledLogits]:
        """What a model gave for the texts with a reference of a head."""
        return [
            LabelledLogits(answers.logits[name][i], self._encodings[i], references[name])
            for i, references in enumerate(self._references)
            if name in references
        ]

    def _texts(self, name: str, spec: HeadSpec) -> list[int]:
        """Positions of the inputs that a head is measured on.

        Those that have a reference of it: texts of other heads' sources are nothing that it is for.
        All that it can read where none has, as for an embedding that was not trained.
        """
        texts = self._encodings[: self._count]
        readable = [i for i, encoding in enumerate(texts) if encoding.kind == spec.input]
        return [i for i in readable if name in self._references[i]] or readable


def drop_interval(
    kind: str, before: Sequence[Answered], after: Sequence[Answered]
) -> tuple[float, float]:
    """Lower and upper 95% confidence bound of the primary metric's drop, each one-sided, in points.

    A paired bootstrap. It sees no spread where all texts are alike, as where nothing changed, so
    that the ends are at least as far away as the exact bound of Clopper & Pearson leaves open
    after as many texts without a difference: 1 - 0.05 ** (1 / texts), 0.75 points for 400.

    Args:
        kind: versioned, with a primary metric.
        before: the reference's answers, at least one.
        after: the other model's, in the same order.
    """
    first, second = ([row.result for row in side] for side in (before, after))
    references = [row.reference for row in before]
    _, _, drop = paired(kind, first, second, references, level=0.9)
    unseen = Changes(0, len(references)).interval[1]
    low, high = min(drop.low, drop.value - unseen), max(drop.high, drop.value + unseen)
    return 100 * low, 100 * high


def short_queries(examples: Sequence[Example]) -> list[Example]:
    """The first word or the first two, by turns, of each text that has more; without references."""
    found: dict[str, None] = {}
    for i, text in enumerate(inputs(examples)):
        words = text.split() if isinstance(text, str) else []
        if len(words) > 1 + i % 2:
            found[" ".join(words[: 1 + i % 2])] = None
    return [Example(f"query {i}", "queries", text, {}) for i, text in enumerate(found)]


def _moved(kind: str, expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """How far one text's logits moved, over how far they are from the border; see `disturbance`."""
    if kind in ("classification.v1", "tokens.v1") and expected.shape[-1] > 1:
        first = np.argsort(expected, axis=-1)[..., -2:]
        expected, found = (
            np.diff(np.take_along_axis(side, first, axis=-1)) for side in (expected, found)
        )
    moved = np.abs(found - expected) / np.maximum(np.abs(expected), _LEAST)
    return float(np.minimum(np.nan_to_num(moved, nan=1.0), 1.0).mean()) if moved.size else 0.0


def _reads_queries(spec: HeadSpec) -> bool:
    return spec.kind == "embedding.v1" and spec.input == "text"


def _written(
    engine: Engine, heads: Sequence[str], encodings: Sequence[Encoding], label: str
) -> list[Prediction]:
    """What heads that write answer to the texts among the inputs."""
    texts = [encoding.text for encoding in encodings if heads and encoding.kind == "text"]
    found: list[Prediction] = []
    with tqdm(total=len(texts), desc=f"{label}, writing", unit="text", leave=False) as bar:
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            found += engine.predict(chunk, heads=heads)
            bar.update(len(chunk))
    return found


def _logits(
    engine: Engine, heads: Sequence[str], texts: Sequence[Input], label: str
) -> dict[str, list[NDArray[np.float32]]]:
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in heads}
    if not heads:
        return found
    with tqdm(total=len(texts), desc=label, unit="text", leave=False) as bar:
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            given = engine.logits(chunk)
            for name in heads:
                found[name] += given[name]
            bar.update(len(chunk))
    return found
