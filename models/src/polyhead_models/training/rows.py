"""What the trainer learns from: token ids and targets, a row for each window."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from polyhead import Engine, InputError
from polyhead.text.encoding import Encoding, Input
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.data.examples import Example
from polyhead_models.errors import DataError
from polyhead_models.training.distillation import teacher_logits

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One training text.

    Attributes:
        ids: token ids, int64 `(tokens,)`.
        targets: by head, as its `target` makes them; heads without a target are absent.
        source: name of the source.
        types: token type ids, int64 `(tokens,)`; None for all 0.
        teachers: by head, the logits of its teacher; heads without one are absent.
        twin: a second text that is learnt from together with this one, and with its targets.
    """

    ids: NDArray[np.int64]
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    source: str = ""
    types: NDArray[np.int64] | None = None
    teachers: Mapping[str, Tensor] = field(default_factory=dict)
    twin: TrainingRow | None = None

    @property
    def all(self) -> tuple[TrainingRow, ...]:
        """The texts that the encoder reads: this one, then its twin."""
        return (self,) if self.twin is None else (self, self.twin)

    @property
    def tokens(self) -> int:
        """Tokens of all texts."""
        return sum(len(row.ids) for row in self.all)


def training_rows(checkpoint: Checkpoint, train_set: Sequence[Example]) -> list[TrainingRow]:
    """Token ids and targets of every training example.

    What is longer than the encoder reads is a row for each window that a head learns from. Heads
    that answer per text learn from the first.
    """
    networks = checkpoint.model.networks
    engine = checkpoint.engine()
    encodings = encoded(engine, train_set, [example.text for example in train_set])
    twins = encoded(engine, train_set, [example.twin or "" for example in train_set])
    heads = checkpoint.description.config.heads
    taught = teacher_logits(heads, checkpoint.model.specs, train_set, encodings)
    rows, long = [], 0
    for example, encoding, twin, teachers in zip(train_set, encodings, twins, taught, strict=True):
        windows = encoding.split()
        long += len(windows) > 1
        found = {n: networks[n].targets(r, encoding) for n, r in example.references.items()}
        for i, window in enumerate(windows):
            targets = {name: t for name, made in found.items() if (t := made[i]) is not None}
            second = None
            if example.twin is not None:
                second = TrainingRow(twin.split()[0].ids, targets)
            logits = {name: made[i] for name, made in teachers.items() if i < len(made)}
            if targets or i == 0:
                rows.append(
                    TrainingRow(window.ids, targets, example.source, window.types, logits, second)
                )
    if long:
        limit = checkpoint.description.config.encoder.max_tokens
        logger.info(
            "%s of %s training texts are longer than max_tokens = %d: heads that answer per token"
            " learn from all windows, the others from the first",
            *(f"{long:,}", f"{len(train_set):,}", limit),
        )
    return rows


def encoded(engine: Engine, examples: Sequence[Example], inputs: Sequence[Input]) -> list[Encoding]:
    """Token ids of the texts of `examples`.

    Raises:
        DataError: when the engine does not read one; says where it is.
    """
    try:
        return engine.encode(inputs)
    except InputError as problem:
        where = examples[problem.index].where if problem.index is not None else "training"
        raise DataError(f"{where}: {problem}") from problem
