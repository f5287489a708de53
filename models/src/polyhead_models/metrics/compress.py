"""compress.v1: ROUGE with the short texts, how much is kept, and what could be reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from polyhead.heads import Compressed
from polyhead.heads.compress import assembled
from polyhead.text import sentences, words
from polyhead_models.heads.compress import Shortened, wanted
from polyhead_models.metrics.base import DecisionMetric
from polyhead_models.metrics.summary import rouge


class CompressMetric(DecisionMetric):
    """ROUGE-1, ROUGE-2 and ROUGE-L as F1 (Lin 2004), stemmed; Chinese by characters.

    Each against the short text that it is nearest to. `kept` is no error and no merit: the share of
    the texts' words that results keep.
    """

    primary = "rouge1"

    def score(
        self, results: Sequence[Compressed], references: Sequence[Shortened]
    ) -> dict[str, float]:
        """Means over the texts; a text without words keeps 0."""
        found = rouge([result.text for result in results], [each.texts for each in references])
        shares = [
            sum(len(words.split(span.text)) for span in result.spans) / max(1, reference.words)
            for result, reference in zip(results, references, strict=True)
        ]
        return {**found, "kept": float(np.mean(shares))}


def lead(text: str, reference: Shortened, limit: int) -> Compressed:
    """The first words of a text, as many as `limit`."""
    spans = words.split(text)[:limit]
    return _whole(text, spans, range(len(spans)))


def sentence(text: str, reference: Shortened, limit: int) -> Compressed:
    """The whole sentence that is nearest to a short text by ROUGE-1, whatever its length."""
    every = [_whole(text, [span], [0]) for span in sentences.split(text)]
    return max(every, key=lambda one: rouge([one.text], [reference.texts])["rouge1"])


def oracle(text: str, reference: Shortened, limit: int) -> Compressed:
    """The words that training would have kept, as many as they are."""
    kept = np.flatnonzero(wanted(text, reference.texts)).tolist()
    return _whole(text, words.split(text), kept)


BOUNDS: Mapping[str, Callable[[str, Shortened, int], Compressed]] = MappingProxyType(
    {"lead": lead, "sentence": sentence, "oracle": oracle}
)
"""What results are held against: no effort, the best whole sentence, the best words."""


def _whole(text: str, spans: Sequence[tuple[int, int]], kept: Sequence[int]) -> Compressed:
    return assembled(text, spans, np.ones(len(spans)), np.array(kept, dtype=np.int64))
