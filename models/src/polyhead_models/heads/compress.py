"""compress.v1: which words a shorter version of a text keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyhead.heads import HeadSpec
from polyhead.heads.compress import MOST
from polyhead.heads.summary import owners
from polyhead.text import words
from polyhead.text.encoding import Encoding
from polyhead_models.heads.base import IGNORED, HeadNetwork

PIECE = 0.5
"""What a piece of neighbours costs, in words, when a short text is looked for in a long one: an
article far from all else is then taken only where nothing better is."""


@dataclass(frozen=True, slots=True)
class Shortened:
    """What a shorter version should say.

    Attributes:
        texts: short texts, at least one, each of which says what the text says.
        words: of the text itself.
    """

    texts: tuple[str, ...]
    words: int


class CompressNetwork(HeadNetwork):
    """Each token vector into one logit; a word's logit is the mean of its tokens'.

    What is to be kept is the longest common subsequence of the text's words and those of a short
    text, whatever their case: see `common`. Of several short texts the one with the longest counts.
    The loss is the binary cross-entropy of words, unweighted: the decoder needs probabilities, and
    takes the best words however rare they are.
    """

    kind: ClassVar[str] = "compress.v1"
    activation: ClassVar[Literal["softmax", "sigmoid", "span", "identity"]] = "sigmoid"
    default_pooling: ClassVar[Literal["cls", "mean", "max"] | None] = None
    texts: ClassVar[tuple[int, ...]] = (1,)

    @classmethod
    def outputs(cls, spec: HeadSpec, width: int) -> int:
        """One logit a token."""
        return 1

    @classmethod
    def reference(cls, raw: Any, text: str) -> Shortened:
        """A short text, or a list of them."""
        found = [raw] if isinstance(raw, str) else raw
        if not isinstance(found, list) or not found:
            raise ValueError(f"found {raw!r}, expected a short text or a list of them")
        for short in found:
            if not isinstance(short, str) or not words.split(short):
                raise ValueError(f"found the short text {short!r}, expected one with words")
        return Shortened(tuple(found), len(words.split(text)))

    @classmethod
    def fitted(cls, spec: HeadSpec, references: Sequence[Shortened]) -> HeadSpec:
        """With the median length of the short texts in words, where the configuration sets none."""
        counts = [len(words.split(short)) for each in references for short in each.texts]
        if spec.words is not None or not counts:
            return spec
        return replace(spec, words=min(round(median(counts)), MOST))

    def prior(self, targets: Sequence[Tensor]) -> Tensor:
        """The log-odds of a token being kept, float32 `(1,)`; each answer counts once more."""
        marks = torch.cat([target[target != IGNORED] for target in targets]) % 2
        kept, every = float(marks.sum()), len(marks)
        return torch.log(torch.tensor([(kept + 1) / (every - kept + 1)]))

    def targets(self, reference: Shortened, encoding: Encoding) -> list[Tensor | None]:
        """The target of each window; the short text is looked for in the whole text."""
        spans = words.split(encoding.text)
        marks = wanted(encoding.text, reference.texts)
        return [_codes(window, spans, marks) for window in encoding.split()]

    def target(self, reference: Shortened, encoding: Encoding) -> Tensor:
        """Word and mark of each token, int64 `(tokens,)`: `2 * word + kept`."""
        marks = wanted(encoding.text, reference.texts)
        return _codes(encoding, words.split(encoding.text), marks)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean binary cross-entropy over the words of all texts; 0 when there are none."""
        known = self.known(targets)
        if not bool(known.any()):
            return logits.sum() * 0.0
        rows = torch.arange(len(targets), device=targets.device).unsqueeze(1).expand_as(targets)
        found = torch.stack([rows[known], targets[known]], dim=1)
        word, group, counts = torch.unique(found, dim=0, return_inverse=True, return_counts=True)
        sums = logits.new_zeros(len(word), dtype=torch.float32)
        sums = sums.index_add(0, group, logits[..., 0][known].float())
        marks = (word[:, 1] % 2).float()
        return nn.functional.binary_cross_entropy_with_logits(sums / counts, marks)


def wanted(text: str, shorts: Sequence[str]) -> NDArray[np.int64]:
    """Which words of a text it has in common with the short text that has most; int64 `(words,)`.

    Args:
        text: any text.
        shorts: at least one.
    """
    own = _plain(text)
    return max((common(own, _plain(short)) for short in shorts), key=lambda marks: int(marks.sum()))


def common(own: Sequence[str], short: Sequence[str], piece: float = PIECE) -> NDArray[np.int64]:
    """The longest common subsequence, less a price for each piece of neighbours in `own`.

    Args:
        own: words of a text.
        short: words of a shorter one.
        piece: what a piece costs, in words, 0 to below 1.

    Returns:
        Which words of `own` it has, int64 `(own,)`, 0 or 1.
    """
    names = {word: number for number, word in enumerate(dict.fromkeys((*own, *short)))}
    text = np.array([names[word] for word in own], dtype=np.int64)
    # Row j is of short[:j], column i of own[:i]. kept: their last words are one and are kept;
    # before: the best of kept over the rows so far; best: over the columns so far, too.
    shape = len(short) + 1, len(own) + 1
    kept, before, best = np.full(shape, -np.inf), np.full(shape, -np.inf), np.zeros(shape)
    for j, word in enumerate(short, start=1):
        longer = np.maximum(best[j - 1, :-1] - piece, before[j - 1, :-1]) + 1
        kept[j, 1:] = np.where(text == names[word], longer, -np.inf)
        before[j] = np.maximum(before[j - 1], kept[j])
        best[j] = np.maximum(best[j - 1], np.maximum.accumulate(kept[j]))
    marks = np.zeros(len(own), dtype=np.int64)
    j, i = len(short), len(own)
    while best[j, i] > 0:
        while best[j, i - 1] == best[j, i]:
            i -= 1
        piece_ends = False
        while not piece_ends:  # own[:i] ends with a kept word
            j, i = int(kept[: j + 1, i].argmax()) - 1, i - 1
            marks[i] = 1
            piece_ends = bool(before[j, i] < best[j, i] - piece)
    return marks


def _plain(text: str) -> list[str]:
    return [text[start:end].casefold() for start, end in words.split(text)]


def _codes(encoding: Encoding, spans: list[tuple[int, int]], marks: NDArray[np.int64]) -> Tensor:
    owner = owners(encoding.offsets, spans)
    owner[encoding.special] = -1
    codes = np.full(len(encoding), IGNORED, dtype=np.int64)
    codes[owner >= 0] = 2 * owner[owner >= 0] + marks[owner[owner >= 0]]
    return torch.from_numpy(codes)
