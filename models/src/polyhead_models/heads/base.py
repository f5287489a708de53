"""The network face of a head kind: hidden states in, logits out; its loss and its targets."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyhead.heads import HeadSpec
from polyhead.tokenizing import Encoding
from polyhead_models.heads.reading import Reader

IGNORED = -100
"""Target value that no loss counts, as in `torch.nn.CrossEntropyLoss`."""


class HeadNetwork(nn.Module, ABC):
    """One head. A subclass is a kind and lives in a file of the kind's name.

    A target goes through three forms: raw (as in the file), reference (what metrics compare with)
    and a tensor (what the loss compares with): label ids, or numbers for a `NumericNetwork`.

    What the data says of the head goes into its spec: `fitted` reads the training references, and
    `tuned`, after training, what the model makes of the validation texts.

    Attributes:
        kind: versioned name of the kind.
        activation: what turns the logits into scores.
        default_pooling: what a configuration may leave out; None for heads that answer per token.
        needs_target: whether the head is trained.
        tunable: whether `tuned` does anything.
        count: logits that a text or token gets.
    """

    kind: ClassVar[str]
    activation: ClassVar[Literal["softmax", "sigmoid", "span", "identity"]]
    default_pooling: ClassVar[Literal["cls", "mean", "max"] | None]
    needs_target: ClassVar[bool] = True
    tunable: ClassVar[bool] = False

    def __init__(
        self,
        spec: HeadSpec,
        *,
        width: int,
        depth: int,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        """Make the head's layers.

        Args:
            spec: what the head is.
            width: of a token vector.
            depth: hidden states that the encoder gives, the embeddings included.
            hidden: widths of GELU layers before the last; empty for a linear head.
            dropout: before each linear layer.
        """
        super().__init__()
        self.spec = spec
        self.reader = Reader(spec.layers, spec.pooling, depth)
        self.count = self.outputs(spec, width)
        self.projection = self._projection([width, *hidden, self.count], dropout)

    def forward(self, states: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        """Hidden states, each `(batch, tokens, width)`, into logits.

        Args:
            states: one a layer, or only the last.
            mask: `(batch, tokens)`, 1 for tokens and 0 for padding; None when nothing is padded.

        Returns:
            `(batch, outputs)`, or `(batch, tokens, outputs)` for heads that answer per token.
        """
        logits: Tensor = self.projection(self.reader(states, mask))
        return logits

    @classmethod
    @abstractmethod
    def outputs(cls, spec: HeadSpec, width: int) -> int:
        """How many logits the head gives."""

    @classmethod
    @abstractmethod
    def reference(cls, raw: Any, text: str) -> Any:
        """A raw target into its reference form.

        Raises:
            ValueError: when it has not the form that the kind expects; says which.
        """

    @classmethod
    def fitted(cls, spec: HeadSpec, references: Sequence[Any]) -> HeadSpec:
        """The spec with what the training references say of the head: its labels or its scale.

        Args:
            spec: without them.
            references: of all training examples; at least one for a head that needs a target.

        Raises:
            ValueError: when nothing can be learnt from them; says why.
        """
        return spec

    @classmethod
    def tuned(
        cls, spec: HeadSpec, logits: Sequence[NDArray[np.float32]], references: Sequence[Any]
    ) -> HeadSpec:
        """The spec with what only the trained model can say, such as thresholds.

        Args:
            spec: as `fitted` left it.
            logits: of the validation texts that have a reference; at least one.
            references: of the same texts.
        """
        return spec

    @classmethod
    @abstractmethod
    def check(cls, reference: Any, labels: Sequence[str]) -> None:
        """Refuse a reference whose label was not seen in training.

        Raises:
            ValueError: names the label and the nearest known one.
        """

    @abstractmethod
    def target(self, reference: Any, encoding: Encoding) -> Tensor:
        """A reference into label ids, int64 `()` or `(tokens,)`; or as `NumericNetwork` says."""

    def collate(self, targets: Sequence[Tensor | None], tokens: int) -> Tensor:
        """Targets of a batch into one tensor; rows without one, and padding, are `IGNORED`.

        Returns:
            int64 `(batch,)`, or `(batch, tokens)` for heads that answer per token.
        """
        shape = (len(targets),) if self.spec.pooling else (len(targets), tokens)
        batch = torch.full(shape, IGNORED, dtype=torch.int64)
        for row, target in enumerate(targets):
            if target is None:
                continue
            if target.ndim:
                batch[row, : len(target)] = target
            else:
                batch[row] = target
        return batch

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy over the targets that are not `IGNORED`; 0 when all are."""
        if not bool((targets != IGNORED).any()):
            return logits.sum() * 0.0
        flat = logits.float().flatten(0, -2)
        return nn.functional.cross_entropy(flat, targets.flatten(), ignore_index=IGNORED)

    @staticmethod
    def _projection(widths: Sequence[int], dropout: float) -> nn.Module:
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Dropout(dropout), nn.Linear(before, after), nn.GELU()]
        return nn.Sequential(*layers[:-1])
