"""What summaries without learning reach: the first sentences, and those nearest to the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from polyhead import Sentence, Summary
from polyhead.text import sentences
from polyhead_models.heads.summary import Salient
from polyhead_models.metrics import METRICS

Known = Sequence[tuple[str, Salient]]
"""Texts with what is salient in them."""


def summaries(train: Known, test: Known) -> dict[str, float]:
    """Figures of the sentences nearest to the text's centroid, and of the first as ``first_…``.

    Args:
        train: gives the words their weights, and the number of sentences; at least one.
        test: at least one.
    """
    words = TfidfVectorizer(sublinear_tf=True).fit([text for text, _ in train])
    count = max(1, round(float(np.mean([len(salient.spans) for _, salient in train]))))
    metric, references = METRICS["summary.v1"], [salient for _, salient in test]
    nearest = metric.score([_nearest(text, words, count) for text, _ in test], references)
    first = metric.score([_chosen(text, range(count)) for text, _ in test], references)
    return {**nearest, **{f"first_{name}": value for name, value in first.items()}}


def _nearest(text: str, words: TfidfVectorizer, count: int) -> Summary:
    spans = sentences.split(text)
    vectors = words.transform([text[start:end] for start, end in spans])
    cosines = np.asarray((vectors @ words.transform([text]).T).todense()).ravel()
    return _chosen(text, np.sort(np.argsort(-cosines, kind="stable")[:count]).tolist())


def _chosen(text: str, rows: Sequence[int]) -> Summary:
    spans = sentences.split(text)
    taken = [spans[row] for row in rows if row < len(spans)]
    return Summary(tuple(Sentence(text[start:end], start, end, 1.0) for start, end in taken))
