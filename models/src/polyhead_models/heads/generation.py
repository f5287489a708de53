"""generation.v1: a decoder that writes a text from the encoder's states."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from polyhead.bundle import Generation
from polyhead.heads import HeadSpec
from polyhead.text.encoding import Encoding
from polyhead.text.tokenizer import Tokenizer
from polyhead_models.generation.decoder import NOT_COPIED, Cross, DecoderStack, Step
from polyhead_models.generation.shape import DecoderShape
from polyhead_models.heads.base import IGNORED, HeadNetwork
from polyhead_models.heads.layers import Hidden

logger = logging.getLogger(__name__)

_SOURCE, _LABELS = 0, 1


class GenerationNetwork(HeadNetwork):
    """The states that the encoder's graph gives, and a decoder that reads them.

    For the encoder's pass the head's logits are the states themselves, `(batch, tokens, width)`.
    The loss is the cross-entropy of each token of the target after those before it (teacher
    forcing). A target is `(2, n)`: the source's token ids, `NOT_COPIED` where special, and the ids
    to write, the end among them, each filled up with `IGNORED`.

    Attributes:
        decoder: writes.
        pretrained: whether the decoder came with the encoder, and learns at its rate.
    """

    kind: ClassVar[str] = "generation.v1"
    activation: ClassVar[Literal["softmax", "sigmoid", "span", "identity"]] = "identity"
    default_pooling: ClassVar[Literal["cls", "mean", "max"] | None] = None
    texts: ClassVar[tuple[int, ...]] = (1,)

    def __init__(
        self,
        spec: HeadSpec,
        *,
        width: int,
        depth: int,
        hidden: Hidden = (),
        dropout: float = 0.0,
        decoder: DecoderShape | None = None,
    ) -> None:
        """Make the head; see `HeadNetwork`.

        Args:
            spec: what the head is.
            width: of a token vector.
            depth: hidden states that the encoder gives.
            hidden: always empty.
            dropout: that of the shape counts.
            decoder: what its decoder is made of.

        Raises:
            ValueError: when that is missing, or reads vectors of another width.
        """
        super().__init__(spec, width=width, depth=depth)
        if decoder is None or decoder.width != width:
            found = "none" if decoder is None else f"one of width {decoder.width}"
            raise ValueError(f"decoder: found {found}, expected one of width {width}")
        self.decoder = DecoderStack(decoder)
        self.pretrained = False
        self._tokenizer: Tokenizer | None = None
        self._told = False

    @staticmethod
    def _projection(width: int, hidden: Hidden, outputs: int, dropout: float) -> nn.Sequential:
        return nn.Sequential()

    @classmethod
    def outputs(cls, spec: HeadSpec, width: int) -> int:
        """The width of the states."""
        return width

    @classmethod
    def reference(cls, raw: Any, text: str) -> tuple[str, ...]:
        """The texts of which any is right: a text, or a list of them; the first is learnt."""
        found = (raw,) if isinstance(raw, str) else raw
        if not isinstance(found, list | tuple) or not found:
            raise ValueError(f"found {raw!r}, expected a text or a list of texts")
        if wrong := [one for one in found if not (isinstance(one, str) and one.strip())]:
            raise ValueError(f"found {wrong[0]!r} among the texts, expected a text with characters")
        return tuple(found)

    def read_with(self, tokenizer: Tokenizer) -> None:
        """Targets are texts, too."""
        self._tokenizer = tokenizer

    @property
    def generation(self) -> Generation:
        """How it writes."""
        assert self.spec.generation is not None
        return self.spec.generation

    def target(self, reference: Any, encoding: Encoding) -> Tensor:
        """The source's tokens and those to write, int64 `(2, n)`; what is too long is cut."""
        assert self._tokenizer is not None, "read_with was not called"
        own = self.generation
        read = self._tokenizer.encode([reference[0]])[0]
        written = [*own.forced, *read.ids[read.body].tolist(), own.end[0]]
        if len(written) > own.max_tokens:
            written = written[: own.max_tokens]
            if not self._told:
                logger.warning(
                    "a target has more than the %d tokens that %s writes at most, and is cut there;"
                    " others may be, too: a larger 'longest' of the head keeps them whole",
                    own.max_tokens,
                    self.spec.output.removeprefix("logits/"),
                )
            self._told = True
        source = np.where(encoding.special, NOT_COPIED, encoding.ids)
        found = torch.full((2, max(len(source), len(written))), IGNORED, dtype=torch.int64)
        found[_SOURCE, : len(source)] = torch.from_numpy(source)
        found[_LABELS, : len(written)] = torch.tensor(written)
        return found

    def targets(self, reference: Any, encoding: Encoding) -> list[Tensor | None]:
        """Of the first window; a long text is learnt from its start."""
        first, *others = encoding.split()
        return [self.target(reference, first), *[None] * len(others)]

    def collate(self, targets: Sequence[Tensor | None], tokens: int) -> Tensor:
        """Targets of a batch into int64 `(batch, 2, n)`, n at least `tokens`."""
        longest = max([tokens, *(len(t[0]) for t in targets if t is not None)])
        batch = torch.full((len(targets), 2, longest), IGNORED, dtype=torch.int64)
        for row, target in enumerate(targets):
            if target is not None:
                batch[row, :, : target.shape[1]] = target
        return batch

    def known(self, targets: Tensor) -> Tensor:
        """Which tokens the loss counts, bool `(batch, n)`."""
        return targets[:, _LABELS] != IGNORED

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of the tokens that are known, with label smoothing; 0 for none.

        What a decoder with a shortlist can neither generate nor copy does not count.

        Args:
            logits: the states, `(batch, tokens, width)`.
            targets: as `collate` makes them.
        """
        rows = self.known(targets).any(dim=1)
        if not bool(rows.any()):  # several processes wait for the gradients of all weights
            weights = torch.stack([weight.sum() for weight in self.decoder.parameters()])
            return (logits.sum() + weights.sum()) * 0.0
        states, source = logits[rows], targets[rows, _SOURCE, : logits.shape[1]]
        labels = targets[rows, _LABELS]
        labels = labels[:, : int((labels != IGNORED).sum(dim=1).max())]
        before = labels.clamp(min=0).roll(1, dims=1)
        before[:, 0] = self.generation.start
        cross = self.decoder.cross(states)
        vectors, _ = self.decoder(before, (), cross, source != IGNORED)
        copied = source.masked_fill(source == IGNORED, NOT_COPIED)
        scores, _ = self.decoder.scores(vectors, cross[-1], copied)
        return self._cross_entropy(scores.float(), labels, copied)

    def _cross_entropy(self, scores: Tensor, labels: Tensor, copied: Tensor) -> Tensor:
        """The mean over tokens that can be written; smoothing spreads over those it generates."""
        counted, shortlist = labels != IGNORED, self.decoder.shortlist
        if shortlist is not None:
            written = torch.isin(labels, shortlist)
            if self.decoder.shape.copies:
                written |= (labels[:, :, None] == copied[:, None, :]).any(dim=2)
            counted &= written
        logs = functional.log_softmax(scores, dim=-1)[counted]
        right = logs.gather(1, labels[counted][:, None])[:, 0]
        every = logs if shortlist is None else logs[:, shortlist]
        smooth = self.label_smoothing
        return -((1 - smooth) * right + smooth * every.mean(dim=1)).sum() / max(1, len(right))

    def cross(self) -> nn.Module:
        """States into keys and values; see `polyhead_models.generation.decoder.Cross`."""
        return Cross(self.decoder)

    def step(self) -> nn.Module:
        """Tokens and caches into scores; see `polyhead_models.generation.decoder.Step`."""
        return Step(self.decoder)

    @torch.no_grad()
    def start_from(self, embedding: Tensor) -> None:
        """Take the encoder's embedding, `(vocabulary, width)`, for a new decoder's own."""
        self.decoder.embedding.weight.copy_(embedding[: self.decoder.shape.vocabulary])
