"""Do a text's logits depend on its batch mates or on the number of threads?

A graph in the exact layout has no padding, so nothing in a row of a batch should reach another row.
Kernels may still add up in another order when a batch or a thread gets another part of the work.
Whether they do is measured: a text alone on one thread, against the same text

- alone, in a batch of 8 and in a batch of 64, at a random place among other texts of its length,
- with 1, 2 and 4 threads of onnxruntime's own, and with 2 and 4 threads that call it at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polyhead.bundle.measured import Certificate
from polyhead.inference.session import OnnxSession
from polyhead.system import cpu
from polyhead.system.onnx_runtime import ort
from polyhead.text.encoding import Encoding

BATCH_SIZES = (1, 8, 64)
THREADS = (1, 2, 4)

# Enough to meet short, middling and long inputs; a BERT-base takes about a minute for them.
_TEXTS = 6
_MOST_TOKENS = 4096
_IDS, _TYPES = "input_ids", "token_type_ids"


def measure(graph: Path, encodings: Sequence[Encoding], *, seed: int = 0) -> Certificate:
    """Compare a text's logits alone with those in batches and on more threads.

    Args:
        graph: an ONNX file in the exact layout, all of whose outputs are looked at.
        encodings: at least one; up to 6 of them, from the shortest to the longest, are the texts,
            and all are mates. In a batch of 64 a text is cut to 64 tokens.
        seed: of the mates' order.

    Returns:
        What was compared, and the largest difference: 0 when every logit is the same to the bit,
        NaN when a logit is.

    Raises:
        GraphError: when the graph is refused or onnxruntime cannot load it.
        ValueError: without encodings.
    """
    if not encodings:
        raise ValueError("encodings: found none, expected at least one.")
    session = OnnxSession(graph)
    texts = _spread([window for encoding in encodings for window in encoding.split()])
    jobs = _jobs(texts, encodings, session.inputs, np.random.default_rng(seed))
    expected = [_own(session, job.alone(), 0) for job in jobs]
    differences = [_difference(session, jobs, expected, workers=count) for count in THREADS]
    for count in THREADS[1:]:
        threaded = OnnxSession(graph, intra_op_threads=count)
        differences.append(_difference(threaded, jobs, expected, workers=1))
    return Certificate(
        graph=graph.name,
        texts=len(texts),
        batch_sizes=BATCH_SIZES,
        threads=THREADS,
        max_difference=float(np.max(differences)),
        cpu=cpu.describe().model,
        onnxruntime=ort.__version__,
    )


@dataclass(frozen=True)
class _Job:
    """A batch `(rows, tokens)` by input, and which row is the text."""

    feeds: dict[str, NDArray[np.int64]]
    row: int

    def alone(self) -> dict[str, NDArray[np.int64]]:
        return {name: rows[self.row : self.row + 1] for name, rows in self.feeds.items()}


def _spread(windows: Sequence[Encoding]) -> list[Encoding]:
    """A few windows, from the shortest to the longest."""
    ordered = sorted(windows, key=len)
    places = np.linspace(0, len(ordered) - 1, min(_TEXTS, len(ordered)))
    return [ordered[round(place)] for place in places]


def _jobs(
    texts: Sequence[Encoding],
    mates: Sequence[Encoding],
    inputs: Sequence[str],
    random: np.random.Generator,
) -> list[_Job]:
    jobs = []
    for text in texts:
        for size in BATCH_SIZES:
            length = min(len(text), _MOST_TOKENS // size)
            row = int(random.integers(size))
            others = [mates[i] for i in random.integers(len(mates), size=size)]
            feeds = {
                _IDS: _rows(text.ids, [e.ids for e in others], row, length),
                _TYPES: _rows(text.token_types, [e.token_types for e in others], row, length),
            }
            jobs.append(_Job({name: feeds[name] for name in inputs}, row))
    return jobs


def _rows(
    own: NDArray[np.int64], others: Iterable[NDArray[np.int64]], row: int, length: int
) -> NDArray[np.int64]:
    """Mates cut to the text's length, or repeated, each begun at another token."""
    rows = np.stack([np.resize(np.roll(ids, -i), length) for i, ids in enumerate(others)])
    rows[row] = own[:length]
    return rows


def _own(
    session: OnnxSession, feeds: dict[str, NDArray[np.int64]], row: int
) -> list[NDArray[np.float32]]:
    return [array[row] for array in session.run(session.outputs, feeds)]


def _difference(
    session: OnnxSession,
    jobs: Sequence[_Job],
    expected: Sequence[Sequence[NDArray[np.float32]]],
    *,
    workers: int,
) -> float:
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(lambda job: _own(session, job.feeds, job.row), jobs))
    return float(
        np.max(
            [
                np.abs(a - b).max(initial=0.0)
                for rows, others in zip(found, expected, strict=True)
                for a, b in zip(rows, others, strict=True)
            ]
        )
    )
