"""embedding.v1: how well cosines rank pairs of texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from polyhead.heads import Embedding

Twins = tuple[Embedding, Embedding]


_CHUNK = 1024


class EmbeddingMetric:
    """Ranking of pairs; two models are compared by the cosine of their vectors.

    The primary metric is Spearman's correlation of cosines and scores (Reimers & Gurevych 2019,
    section 4). For texts that belong together it is the mean reciprocal rank of each text's partner
    among the partners of all.
    """

    primary = "ranking"

    def score(
        self, results: Sequence[Twins], references: Sequence[float | None]
    ) -> dict[str, float]:
        """Figures of pairs that all have scores, or else of those that belong together.

        A correlation is 0 where it is not defined: all alike, or one pair only.
        """
        first = np.stack([a.vector for a, _ in results])
        second = np.stack([b.vector for _, b in results])
        scores = np.array([np.nan if r is None else r for r in references], dtype=np.float64)
        together = np.isnan(scores)
        if together.any():
            ranks = _ranks(first, second, np.flatnonzero(together))
            found = float(np.mean(1 / ranks))
            return {"ranking": found, "mrr": found, "recall_at_1": float(np.mean(ranks == 1))}
        cosines = (first * second).sum(axis=1)
        varied = len(set(rankdata(cosines))) > 1 and len(set(scores)) > 1
        found = float(spearmanr(cosines, scores).statistic) if varied else 0.0
        return {"ranking": found, "spearman": found}

    def agreement(self, results: Sequence[Embedding], others: Sequence[Embedding]) -> float:
        """Mean cosine over the texts."""
        cosines = [np.dot(a.vector, b.vector) for a, b in zip(results, others, strict=True)]
        return float(np.mean(cosines))


def _ranks(
    first: NDArray[np.float32], second: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The rank, from 1, of each row's own partner among all; a part at a time, to save memory."""
    found = []
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        cosines = first[part] @ second.T
        own = cosines[np.arange(len(part)), part]
        found.append((cosines > own[:, None]).sum(axis=1) + 1)
    return np.concatenate(found)
