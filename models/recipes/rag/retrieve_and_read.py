"""Find the passages that may answer a question, and read the answer in them, with one bundle.

The bundle has two heads over one encoder: `embedding`, for passages and questions alone, and
`answer`, for a question with a passage. See README.md for how to make it.

    python models/recipes/rag/retrieve_and_read.py bundle/ xquad.en.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import polyhead
from polyhead_models.heads.answer import f1

MANY = 20_000
"""From so many passages on, `usearch` is faster than a product of matrices."""


class Index(Protocol):
    """Finds the nearest vectors."""

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Numbers of the `k` nearest passages, the nearest first, `(queries, k)`."""
        ...


class Exact:
    """All cosines at once, with numpy; exact, and fast enough for some ten thousand passages."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        """Take unit vectors, `(passages, hidden)`."""
        self._vectors = vectors

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """See `Index.search`."""
        scores = queries @ self._vectors.T
        k = min(k, scores.shape[1])
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        return np.take_along_axis(best, order, axis=1).astype(np.int64)


class Approximate:
    """A graph of neighbours (`usearch`), for many passages; nearly exact."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        """Take unit vectors, `(passages, hidden)`."""
        from usearch.index import Index as Neighbours

        self._index = Neighbours(ndim=vectors.shape[1], metric="ip")
        self._index.add(np.arange(len(vectors)), vectors)

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """See `Index.search`."""
        found = self._index.search(queries, k).keys
        return np.asarray(found, np.int64).reshape(len(queries), -1)


def index_of(vectors: NDArray[np.float32]) -> Index:
    """The index for so many vectors."""
    return Exact(vectors) if len(vectors) < MANY else Approximate(vectors)


@dataclass(frozen=True)
class Found:
    """An answer, and where it stands.

    Attributes:
        text: of the answer.
        passage: number of the passage.
        score: the answer's own probability.
        retrieved: numbers of the passages that were read, the nearest first.
    """

    text: str
    passage: int
    score: float
    retrieved: tuple[int, ...]


class Reader:
    """Passages, and an engine that searches and reads them."""

    def __init__(self, engine: polyhead.Engine, passages: Sequence[str]) -> None:
        """Embed the passages, which takes one encoder pass each."""
        if not passages:
            raise ValueError("passages: found none, expected at least one.")
        self._engine, self.passages = engine, list(passages)
        self._index = index_of(self._vectors(self.passages))

    def _vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        answers = self._engine.predict(list(texts), heads=["embedding"])
        return np.stack([answer["embedding"].vector for answer in answers])

    def retrieve(self, questions: Sequence[str], k: int = 5) -> list[tuple[int, ...]]:
        """Numbers of the `k` passages nearest to each question, the nearest first."""
        found = self._index.search(self._vectors(questions), min(k, len(self.passages)))
        return [tuple(row.tolist()) for row in found]

    def answer(self, question: str, k: int = 5) -> Found:
        """The best answer in the `k` nearest passages."""
        (near,) = self.retrieve([question], k)
        pairs = [(question, self.passages[number]) for number in near]
        read = [p["answer"] for p in self._engine.predict(pairs, heads=["answer"])]
        # Probabilities are of one passage each; margins are logits and can be compared.
        best = min(range(len(read)), key=lambda i: (read[i].margin, i))
        return Found(read[best].text, near[best], read[best].score, near)


def questions_of(path: Path) -> tuple[list[str], list[tuple[str, int, tuple[str, ...]]]]:
    """Passages of a file in SQuAD's format; and questions with their passage and answers."""
    passages: list[str] = []
    questions = []
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                texts = tuple(answer["text"] for answer in asked["answers"])
                questions.append((asked["question"], len(passages), texts))
            passages.append(paragraph["context"])
    return passages, questions


def evaluate(
    engine: polyhead.Engine, path: Path, *, ks: Sequence[int] = (1, 5, 10), limit: int | None = None
) -> dict[str, float]:
    """Recall of retrieval, F1 of the answers found end to end, and milliseconds a question.

    ``oracle_f1`` is that of the same head with the right passage given.
    """
    passages, questions = questions_of(path)
    reader = Reader(engine, passages)
    questions = questions[:limit]
    near = reader.retrieve([question for question, _, _ in questions], max(ks))
    figures: dict[str, float] = {"passages": len(passages), "questions": len(questions)}
    for k in ks:
        hits = [own in found[:k] for (_, own, _), found in zip(questions, near, strict=True)]
        figures[f"recall@{k}"] = float(np.mean(hits))
    overlaps, times = [], []
    for question, _, texts in questions:
        start = time.perf_counter()
        found = reader.answer(question)
        times.append(time.perf_counter() - start)
        overlaps.append(max(f1(found.text, text) for text in texts))
    oracle = engine.predict([(q, passages[own]) for q, own, _ in questions], heads=["answer"])
    figures["f1"] = float(np.mean(overlaps))
    figures["oracle_f1"] = float(
        np.mean(
            [
                max(f1(p["answer"].text, text) for text in texts)
                for p, (_, _, texts) in zip(oracle, questions, strict=True)
            ]
        )
    )
    figures["ms_p50"] = 1e3 * float(np.median(times))
    figures["ms_p99"] = 1e3 * float(np.percentile(times, 99))
    return figures


def main() -> None:
    """Evaluate a bundle and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("questions", type=Path, help="in SQuAD's format")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    with polyhead.load(given.bundle, threads=given.threads) as engine:
        json.dump(evaluate(engine, given.questions, limit=given.limit), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
