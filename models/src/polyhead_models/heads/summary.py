"""summary.v1: how salient each sentence is, as the mean over its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from polyhead.heads import HeadSpec
from polyhead.heads.summary import owners
from polyhead.text import sentences
from polyhead.text.encoding import Encoding
from polyhead_models.data.tagging import Words
from polyhead_models.heads.base import IGNORED, HeadNetwork


@dataclass(frozen=True, slots=True)
class Salient:
    """What a summary should hold.

    Attributes:
        spans: start and end of the salient sentences, in code points, in the order of the text.
        texts: what ROUGE compares with: summaries in other words, or else the salient sentences
            with a blank between them; empty when there are neither.
    """

    spans: tuple[tuple[int, int], ...]
    texts: tuple[str, ...] = ()


class SummaryNetwork(HeadNetwork):
    """Each token vector into one logit; a sentence's logit is the mean of its tokens'.

    The loss is the binary cross-entropy of sentences. Sentences are those that the decoder finds;
    one is salient when the marked spans cover more than half of it.
    """

    kind: ClassVar[str] = "summary.v1"
    activation: ClassVar[Literal["softmax", "sigmoid", "span", "identity"]] = "sigmoid"
    default_pooling: ClassVar[Literal["cls", "mean", "max"] | None] = None
    texts: ClassVar[tuple[int, ...]] = (1,)
    listed: ClassVar[bool] = True

    @classmethod
    def outputs(cls, spec: HeadSpec, width: int) -> int:
        """One logit a token."""
        return 1

    @classmethod
    def on_words(cls, raw: Any, words: Words, tags: str) -> Any:
        """One 0 or 1 for each sentence of a text that is a list of them, as spans."""
        if not isinstance(raw, list) or any(isinstance(mark, dict) for mark in raw):
            return raw
        if len(raw) != len(words.words):
            raise ValueError(f"found {len(raw)} marks for {len(words.words)} sentences")
        if wrong := [mark for mark in raw if mark not in (0, 1)]:
            raise ValueError(f"found the mark {wrong[0]!r}, expected 0 or 1 for each sentence")
        places = zip(words.places, raw, strict=True)
        return [{"start": start, "end": end} for (start, end), mark in places if mark]

    @classmethod
    def reference(cls, raw: Any, text: str) -> Salient:
        """Spans of the salient sentences: a list of tables with `start` and `end`.

        Or a table with such a list under `sentences`, and under `summaries` a text or a list of
        them.
        """
        summaries: Any = None
        if isinstance(raw, dict):
            raw, summaries = raw.get("sentences"), raw.get("summaries")
        if not isinstance(raw, list):
            raise ValueError(f"found {raw!r}, expected a list of spans with start and end")
        texts = [] if summaries is None else summaries
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not all(isinstance(t, str) and t.strip() for t in texts):
            raise ValueError(
                f"found the summaries {summaries!r}, expected a text or a list of them"
            )
        spans = tuple(sorted(_span(item, text) for item in raw))
        marked = " ".join(text[start:end] for start, end in spans)
        return Salient(spans, tuple(texts) or ((marked,) if marked else ()))

    def target(self, reference: Any, encoding: Encoding) -> Tensor:
        """Sentence and mark of each token, int64 `(tokens,)`: `2 * sentence + salient`."""
        spans = sentences.split(encoding.text)
        marks = np.array([_covered(span, reference.spans) for span in spans], dtype=np.int64)
        owner = owners(encoding.offsets, spans)
        owner[encoding.special] = -1
        codes = np.full(len(encoding), IGNORED, dtype=np.int64)
        codes[owner >= 0] = 2 * owner[owner >= 0] + marks[owner[owner >= 0]]
        return torch.from_numpy(codes)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean binary cross-entropy over the sentences of all texts; 0 when there are none."""
        known = self.known(targets)
        if not bool(known.any()):
            return logits.sum() * 0.0
        rows = torch.arange(len(targets), device=targets.device).unsqueeze(1).expand_as(targets)
        found = torch.stack([rows[known], targets[known]], dim=1)
        sentence, group, counts = torch.unique(
            found, dim=0, return_inverse=True, return_counts=True
        )
        sums = logits.new_zeros(len(sentence), dtype=torch.float32)
        sums = sums.index_add(0, group, logits[..., 0][known].float())
        marks = (sentence[:, 1] % 2).float()
        return nn.functional.binary_cross_entropy_with_logits(sums / counts, marks)


def _span(item: Any, text: str) -> tuple[int, int]:
    start, end = (item.get(k) if isinstance(item, dict) else None for k in ("start", "end"))
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        raise ValueError(f"found {item!r}, expected a table with 0 <= start < end <= {len(text)}")
    return start, end


def _covered(sentence: tuple[int, int], spans: Sequence[tuple[int, int]]) -> bool:
    shared = sum(max(0, min(sentence[1], end) - max(sentence[0], start)) for start, end in spans)
    return 2 * shared > sentence[1] - sentence[0]
