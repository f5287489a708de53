"""Examples into what the trainer learns from: a row for each window, rows into padded batches."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from polyhead import Engine, InputError
from polyhead.text.encoding import Encoding, Input
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.data.examples import Example
from polyhead_models.errors import DataError
from polyhead_models.heads import HeadNetwork
from polyhead_models.model import MultiHeadModel
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
    for network in networks.values():
        network.read_with(checkpoint.tokenizer)
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


class Collator:
    """Rows into padded tensors."""

    def __init__(
        self, model: MultiHeadModel, trained: Sequence[str], taught: Sequence[str]
    ) -> None:
        self._taught = taught
        self._trained = trained
        self._networks = model.networks
        self._typed = "token_type_ids" in model.inputs
        self._padding = getattr(model.encoder.config, "pad_token_id", None) or 0

    def __call__(self, rows: Sequence[TrainingRow]) -> dict[str, Any]:
        """A batch: ids, mask and, where wanted, token types `(texts, tokens)`; targets by head."""
        rows = [text for row in rows for text in row.all]
        texts = [torch.from_numpy(row.ids) for row in rows]
        ids = pad_sequence(texts, batch_first=True, padding_value=self._padding)
        mask = pad_sequence([torch.ones_like(text) for text in texts], batch_first=True)
        tokens = ids.shape[1]
        targets = {
            name: self._networks[name].collate([row.targets.get(name) for row in rows], tokens)
            for name in self._trained
        }
        batch = {"input_ids": ids, "attention_mask": mask, "targets": targets}
        if self._taught:
            batch["teachers"] = {
                name: _padded(
                    [row.teachers.get(name) for row in rows], self._networks[name], tokens
                )
                for name in self._taught
            }
        if self._typed:
            types = [r.ids * 0 if r.types is None else r.types for r in rows]
            batch["token_type_ids"] = pad_sequence(
                [torch.from_numpy(of_row) for of_row in types], batch_first=True
            )
        return batch


def _padded(logits: Sequence[Tensor | None], network: HeadNetwork, tokens: int) -> Tensor:
    """Logits of teachers into one tensor; NaN where there are none."""
    shape = (network.count,) if network.spec.pooling else (tokens, network.count)
    batch = torch.full((len(logits), *shape), float("nan"))
    for row, found in enumerate(logits):
        if found is not None:
            batch[row, : len(found)] = found
    return batch
