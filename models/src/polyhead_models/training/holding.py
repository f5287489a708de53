"""Heads that give vectors are held to what they said before the training.

Their neighbours change the encoder for labels of their own, which drags the vectors along. Those of
the untouched encoder are teachers of the run's texts, as in learning without forgetting (Li & Hoiem
2016, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from tqdm import tqdm

from polyhead import Prediction
from polyhead.heads import Embedding, HeadSpec
from polyhead_models.config import Config
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import HeadFigures, figures
from polyhead_models.heads.embedding import EmbeddingNetwork
from polyhead_models.metrics import METRICS
from polyhead_models.model import MultiHeadModel
from polyhead_models.training.rows import Collator, TrainingRow

_MOST, _BATCH = 20_000, 64
_NOISE = 0.005  # half a point, what an export may lose by default


def held(config: Config) -> dict[str, float]:
    """The weight of each head that is held; none where the encoder does not learn."""
    if config.training.freeze == "encoder":
        return {}
    return {
        name: head.hold
        for name, head in config.heads.items()
        if head.versioned_kind == EmbeddingNetwork.kind and head.hold
    }


def gives_vectors(config: Config) -> bool:
    """Whether a head gives vectors."""
    return any(head.versioned_kind == EmbeddingNetwork.kind for head in config.heads.values())


def with_vectors(
    model: MultiHeadModel, rows: Sequence[TrainingRow], heads: Sequence[str], collate: Collator
) -> list[TrainingRow]:
    """The rows, with the vectors of an untouched model among their teachers' logits.

    A head is held on lone texts that it does not learn from: what it should make of the others,
    its own targets say. Of many such rows every n-th has vectors, since a batch takes the mean over
    those that it has; this bounds time and memory.

    Args:
        model: on the device of the training.
        rows: of the training.
        heads: those that are held.
        collate: as the training does it.
    """
    found, specs = list(rows), model.specs
    others = [
        i
        for i, row in enumerate(rows)
        if all(specs[head].input == "text" for head in row.targets)
        and not row.targets.keys() >= set(heads)
    ]
    chosen = others[:: -(-len(others) // _MOST) or 1]
    chosen.sort(key=lambda i: rows[i].tokens)
    training, device = model.training, next(model.parameters()).device
    model.eval()
    with tqdm(total=len(chosen), desc="untouched vectors", unit="text", leave=False) as bar:
        for start in range(0, len(chosen), _BATCH):
            part = chosen[start : start + _BATCH]
            batch = collate([rows[i] for i in part])
            inputs = {k: v.to(device) for k, v in batch.items() if isinstance(v, Tensor)}
            with torch.inference_mode():
                logits = model(**inputs)
            made = zip(*(logits[head].cpu().half() for head in heads), strict=True)
            said = (dict(zip(heads, of_text, strict=True)) for of_text in made)
            for i in part:
                found[i] = _with(rows[i], said)
            bar.update(len(part))
    model.train(training)
    return found


def _with(row: TrainingRow, said: Iterator[Mapping[str, Tensor]]) -> TrainingRow:
    own = row.targets.keys()
    teachers = {**row.teachers, **{head: v for head, v in next(said).items() if head not in own}}
    twin = None if row.twin is None else _with(row.twin, said)
    return replace(row, teachers=teachers, twin=twin)


@dataclass(frozen=True)
class Untouched:
    """What the heads that give vectors made of the validation texts before the training.

    Attributes:
        vectors: by head, of each text that it reads.
        figures: of each such head that has references.
    """

    vectors: Mapping[str, Sequence[Embedding]] = field(default_factory=dict)
    figures: Mapping[str, HeadFigures] = field(default_factory=dict)

    @classmethod
    def of(
        cls, specs: Mapping[str, HeadSpec], examples: Sequence[Example], said: Sequence[Prediction]
    ) -> Untouched:
        """That of predictions in the order of `evaluation.inputs(examples)`."""
        own = {name: spec for name, spec in specs.items() if spec.kind == EmbeddingNetwork.kind}
        return cls(_vectors(own, said), figures(own, examples, said) if own else {})

    def agreement(self, predictions: Sequence[Prediction]) -> dict[str, float]:
        """By head the mean cosine of vectors of the same texts and these."""
        metric = METRICS[EmbeddingNetwork.kind]
        now = _vectors(self.vectors, predictions)
        return {name: metric.agreement(now[name], known) for name, known in self.vectors.items()}

    def lost(self, found: Mapping[str, HeadFigures]) -> dict[str, float]:
        """By how much heads are worse than here, of those that are by more than noise."""
        lost = {name: before.value - found[name].value for name, before in self.figures.items()}
        return {name: points for name, points in lost.items() if points > _NOISE}


def _vectors(heads: Iterable[str], said: Sequence[Prediction]) -> dict[str, list[Embedding]]:
    found = {name: [answer[name] for answer in said if name in answer] for name in heads}
    return {name: read for name, read in found.items() if read}
