"""tokens.v1: labelled spans, as one BIO tag a token."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyhead.heads import HeadSpec
from polyhead.heads.base import trimmed
from polyhead.heads.tokens import tags
from polyhead.text.encoding import Encoding
from polyhead_models.data import tagging
from polyhead_models.data.tagging import Words
from polyhead_models.heads.base import IGNORED, HeadNetwork, log_frequencies

Reference = tuple[tuple[str, int, int], ...]


class TokensNetwork(HeadNetwork):
    """Each token vector into one logit a tag; cross-entropy.

    A reference is a tuple of `(label, start, end)` in the order of the text, in code points.
    """

    kind: ClassVar[str] = "tokens.v1"
    activation: ClassVar[Literal["softmax", "sigmoid", "span", "identity"]] = "softmax"
    default_pooling: ClassVar[Literal["cls", "mean", "max"] | None] = None
    texts: ClassVar[tuple[int, ...]] = (1,)
    listed: ClassVar[bool] = True
    # A mean over tokens is small: few of them are hard. Beside three other heads, slots reached an
    # F1 of 0.859 with this factor and 0.798 without. 9, about a sum over words, takes from others.
    loss_scale: ClassVar[float] = 3.0

    @classmethod
    def on_words(cls, raw: Any, words: Words, tags: str) -> Any:
        """One tag a word as character spans; anything else stays."""
        if not isinstance(raw, list) or not raw or not isinstance(raw[0], str):
            return raw
        return tagging.spans(words.places, raw, each=tags == "words")

    @classmethod
    def outputs(cls, spec: HeadSpec, width: int) -> int:
        """One logit a tag."""
        return len(tags(spec.labels, spec.scheme))

    @classmethod
    def reference(cls, raw: Any, text: str) -> Reference:
        """Character spans: a list of tables with `label`, `start` and `end`; empty for no span.

        Where a span has its `text`, too, that has to be there.
        Blanks at their edges are left out, as in answers, and so are spans of blanks alone.
        """
        if not isinstance(raw, list):
            raise ValueError(f"found {raw!r}, expected a list of spans with label, start, end")
        kept = (span for item in raw if (span := _span(item, text))[1] < span[2])
        spans = sorted(kept, key=lambda span: span[1])
        for before, after in itertools.pairwise(spans):
            shared = text[after[1] : before[2]]
            # A mark that begins a span is also the end of the one before, as in answers.
            if not all(unicodedata.category(each).startswith("M") for each in shared):
                raise ValueError(f"the spans {before} and {after} overlap")
        return tuple(spans)

    @classmethod
    def blank_edges(cls, raw: Any, text: str) -> int:
        """Spans with a blank at an edge."""
        parts = (text[item["start"] : item["end"]] for item in raw)
        return sum(part.strip() != part for part in parts)

    @classmethod
    def labels_of(cls, reference: Reference) -> Iterable[str]:
        """Those of the spans."""
        return (label for label, _, _ in reference)

    @classmethod
    def seen(cls, reference: Reference, labels: Collection[str]) -> Reference:
        """The other spans."""
        return tuple(span for span in reference if span[0] in labels)

    def prior(self, targets: Sequence[Tensor]) -> Tensor:
        """Logarithms of the tags' shares."""
        return log_frequencies(targets, self.count)

    def target(self, reference: Any, encoding: Encoding) -> Tensor:
        """One tag id a token, shape `(tokens,)`; special tokens are ignored.

        A token belongs to the span that it shares a character with; the first such token of a span
        is its B. A window that begins inside a span begins with an I.
        """
        ids = np.where(encoding.special, IGNORED, 0)
        starts, ends = encoding.offsets[:, 0], encoding.offsets[:, 1]
        for label, start, end in reference:
            covered = np.flatnonzero((starts < end) & (ends > start) & ~encoding.special)
            begin = 1 + 2 * self.spec.labels.index(label)
            ids[covered] = begin + 1
            if encoding.firsts[0] == 0 or not _goes_on(start, starts, ~encoding.special):
                ids[covered[:1]] = begin
        return torch.from_numpy(ids)


def _goes_on(start: int, starts: NDArray[np.int64], body: NDArray[np.bool_]) -> bool:
    """Whether a span began before the first token of the text that a window holds."""
    return bool(start < starts[body][0])


def _span(item: Any, text: str) -> tuple[str, int, int]:
    if not isinstance(item, dict) or not {"label", "start", "end"} <= item.keys():
        hint = ". Tags need a text that is a list of words" if isinstance(item, str) else ""
        raise ValueError(
            f"found the span {item!r}, expected a table with label, start and end{hint}"
        )
    label, start, end = item["label"], item["start"], item["end"]
    if not isinstance(label, str) or not label:
        raise ValueError(f"found the span label {label!r}, expected a text")
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        raise ValueError(
            f"found a span from {start!r} to {end!r}, expected 0 <= start < end <= {len(text)}"
        )
    stated = item.get("text")
    if isinstance(stated, str) and stated.strip() != text[start:end].strip():
        raise ValueError(
            f"found the text {stated!r} of a span from {start} to {end}, where {text[start:end]!r}"
            " is. Offsets count code points, not bytes or UTF-16"
        )
    return label, *trimmed(text, start, end)
