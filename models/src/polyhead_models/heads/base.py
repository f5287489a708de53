"""The network of a head kind: hidden states in, logits out; its loss and its targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from polyhead.heads import HeadSpec
from polyhead.text.encoding import Encoding
from polyhead.text.tokenizer import Tokenizer
from polyhead_models.data.tagging import Words
from polyhead_models.heads.layers import Hidden, LayerReader, last_width, stack

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
        texts: how many keys of a text the configuration may name: 1 for a lone text, 2 for a pair.
        listed: whether a raw target is a list; it may then be JSON in a text, as in a csv file.
        untrained: whether the head is of use without training; it then learns from two texts,
            each an input by itself.
        tunable: whether `tuned` does anything.
        loss_scale: factor of the loss in the sum over heads, where means of kinds differ in size.
        count: logits that a text or token gets.
        class_weights: factor of each label in the loss, `(labels,)`; None for 1 each. Set for
            training only, like the next.
        label_smoothing: share of a target that is spread over all labels alike.
    """

    kind: ClassVar[str]
    activation: ClassVar[Literal["softmax", "sigmoid", "span", "identity"]]
    default_pooling: ClassVar[Literal["cls", "mean", "max"] | None]
    texts: ClassVar[tuple[int, ...]] = (1, 2)
    listed: ClassVar[bool] = False
    untrained: ClassVar[bool] = False
    loss_scale: ClassVar[float] = 1.0
    class_weights: Tensor | None
    label_smoothing: float = 0.0
    tunable: ClassVar[bool] = False

    def __init__(
        self,
        spec: HeadSpec,
        *,
        width: int,
        depth: int,
        hidden: Hidden = (),
        dropout: float = 0.0,
    ) -> None:
        """Make the head's layers.

        Args:
            spec: what the head is.
            width: of a token vector.
            depth: hidden states that the encoder gives, the embeddings included.
            hidden: layers before the last; empty for a linear head.
            dropout: before each linear layer.
        """
        super().__init__()
        self.spec = spec
        self.register_buffer("class_weights", None, persistent=False)
        self.reader = LayerReader(spec.layers, spec.pooling, depth)
        self.count = self.outputs(spec, last_width(width, hidden))
        self.projection = self._projection(width, hidden, self.count, dropout)

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
    def outputs(cls, spec: HeadSpec, width: int) -> int:
        """How many logits the head gives: one a label, where the kind does not say otherwise.

        Args:
            spec: what the head is.
            width: of the last hidden layer, or of a token vector for a head without any.
        """
        return len(spec.labels)

    @classmethod
    @abstractmethod
    def reference(cls, raw: Any, text: str) -> Any:
        """A raw target into its reference form.

        Args:
            raw: as it is in the row; never None.
            text: what the head reads; of a pair the second text.

        Raises:
            ValueError: when it has not the form that the kind expects; says which.
        """

    @classmethod
    def blank_edges(cls, raw: Any, text: str) -> int:
        """How many spans of a raw target begin or end with a blank, which `reference` leaves out.

        Args:
            raw: a target that `reference` takes.
            text: what the head reads.
        """
        return 0

    @classmethod
    def on_words(cls, raw: Any, words: Words, tags: str) -> Any:
        """A raw target that may be on the words of a text, as one on its characters.

        Args:
            raw: as it is in the row.
            words: the words, and where they stand in the text.
            tags: the configuration's key `tags`.

        Raises:
            ValueError: when it does not fit the words.
        """
        return raw

    @classmethod
    def labels_of(cls, reference: Any) -> Iterable[str]:
        """The labels in a reference; none for kinds without labels."""
        return ()

    @classmethod
    def fitted(cls, spec: HeadSpec, references: Sequence[Any]) -> HeadSpec:
        """The spec with what the training references say of the head: its labels or its scale.

        Here all labels, sorted.

        Args:
            spec: without them.
            references: of all training examples; at least one for a head that needs a target.

        Raises:
            ValueError: when nothing can be learnt from them; says why.
        """
        found = {label for reference in references for label in cls.labels_of(reference)}
        return replace(spec, labels=tuple(sorted(found)))

    @classmethod
    def tuned(cls, spec: HeadSpec, results: Sequence[Any], references: Sequence[Any]) -> HeadSpec:
        """The spec with what only the trained model can say, such as thresholds.

        Args:
            spec: as `fitted` left it.
            results: of the validation texts that have a reference; at least one.
            references: of the same texts.
        """
        return spec

    @classmethod
    def balanced(cls, labels: Sequence[str], references: Sequence[Any]) -> list[float]:
        """A factor for each label, the larger the rarer it is in the references.

        Raises:
            NotImplementedError: for kinds without class weights.
        """
        raise NotImplementedError

    @classmethod
    def seen(cls, reference: Any, labels: Collection[str]) -> Any:
        """What is left of a reference without the labels that training lacks; None for nothing.

        Args:
            reference: in the reference form.
            labels: all that training has.
        """
        return reference if all(found in labels for found in cls.labels_of(reference)) else None

    def prior(self, targets: Sequence[Tensor]) -> Tensor | None:
        """The logits with which the head best answers texts that it has not read, `(count,)`.

        Args:
            targets: of all training rows, as `target` makes them; at least one.

        Returns:
            None for kinds that begin at 0.
        """
        return None

    def read_with(self, tokenizer: Tokenizer) -> None:
        """Give the tokenizer to kinds whose targets are texts, before `targets` is called."""

    @abstractmethod
    def target(self, reference: Any, encoding: Encoding) -> Tensor:
        """A reference into label ids, int64 `()` or `(tokens,)`; or as `NumericNetwork` says."""

    def targets(self, reference: Any, encoding: Encoding) -> list[Tensor | None]:
        """The target of each window of an encoding; None where a window has none.

        A head that answers per text learns from the first window alone.
        """
        windows = encoding.split()
        if self.spec.pooling is not None:
            return [self.target(reference, windows[0]), *[None] * (len(windows) - 1)]
        return [self.target(reference, window) for window in windows]

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

    def known(self, targets: Tensor) -> Tensor:
        """Which of the targets of a batch the loss counts, bool."""
        return targets != IGNORED

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy over the targets that are not `IGNORED`; 0 when all are."""
        if not bool(self.known(targets).any()):
            return logits.sum() * 0.0
        flat = logits.float().flatten(0, -2)
        return nn.functional.cross_entropy(
            flat,
            targets.flatten(),
            weight=self.class_weights,
            ignore_index=IGNORED,
            label_smoothing=self.label_smoothing,
        )

    def distil(self, logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """How far the logits are from a teacher's: `T² KL(teacher || own)` of softmaxes over T.

        Hinton, Vinyals & Dean 2015, section 2.

        Args:
            logits: `(batch, outputs)` or `(batch, tokens, outputs)`.
            teacher: the same shape; NaN where the teacher says nothing.
            temperature: T.

        Returns:
            The mean over texts or tokens; 0 when the teacher says nothing at all.
        """
        known = ~teacher[..., 0].isnan()
        if not bool(known.any()):
            return logits.sum() * 0.0
        own = torch.log_softmax(logits[known].float() / temperature, dim=-1)
        wanted = torch.log_softmax(teacher[known] / temperature, dim=-1)
        divergence = nn.functional.kl_div(own, wanted, reduction="batchmean", log_target=True)
        return divergence * temperature**2

    @staticmethod
    def _projection(width: int, hidden: Hidden, outputs: int, dropout: float) -> nn.Sequential:
        return stack(width, hidden, outputs, dropout)


MISSING = float("nan")
"""Target value that no loss counts: what `IGNORED` is among indices."""


class NumericNetwork(HeadNetwork):
    """A head for a text whose target is float32 `(outputs,)`, in the order of the logits."""

    def collate(self, targets: Sequence[Tensor | None], tokens: int) -> Tensor:
        """Targets of a batch into float32 `(batch, outputs)`; rows without one are `MISSING`."""
        missing = torch.full((self.count,), MISSING)
        return torch.stack([missing if target is None else target for target in targets])

    def known(self, targets: Tensor) -> Tensor:
        """Which texts have a target: bool `(batch,)`."""
        return ~targets[:, 0].isnan()

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean over the texts whose targets are not `MISSING`; 0 when all are."""
        known = self.known(targets)
        if not bool(known.any()):
            return logits.sum() * 0.0
        return self.criterion(logits[known].float(), targets[known])

    def distil(self, logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """The loss with the teacher's numbers as targets; numbers have no temperature."""
        return self.loss(logits, teacher)

    @abstractmethod
    def criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of logits `(n, outputs)` for such targets, both float32, n at least 1."""


def log_frequencies(targets: Sequence[Tensor], count: int) -> Tensor:
    """Logarithms of the shares of label ids, float32 `(count,)`; each counts once more.

    Args:
        targets: ids, or `IGNORED`.
        count: number of labels.
    """
    ids = torch.cat([target.flatten() for target in targets])
    counts = torch.bincount(ids[ids != IGNORED], minlength=count) + 1.0
    return torch.log(counts / counts.sum())


def label(raw: Any) -> str:
    """A label: a text, a whole number or true/false.

    Raises:
        ValueError: when it is something else, or empty.
    """
    if isinstance(raw, str | int) and str(raw):
        return str(raw)
    raise ValueError(f"found {raw!r}, expected a label (a text or a whole number)")
