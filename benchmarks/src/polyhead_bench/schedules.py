"""Another graph of the same weights behind a bundle's engine: batches with padding.

What serving would be without groups of equal length. Tokenising and decoding are the engine's own,
so that graph and schedule are all that differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from polyhead import Engine, Prediction
from polyhead.heads import decoder
from polyhead.inference import threads
from polyhead.text.encoding import Encoding
from polyhead_bench.graphs.session import Options, opened
from polyhead_bench.peers import padded

SIDE_BY_SIDE, TOGETHER = "a thread a batch", "all threads a batch"
"""Both ways to use several cores."""


def names(orders: Iterable[str]) -> list[tuple[str, str]]:
    """Order and way of each schedule; on one core both ways are the same.

    Args:
        orders: of `polyhead_bench.peers.padded.ORDERS`.
    """
    ways = (SIDE_BY_SIDE, TOGETHER) if threads.budget() > 1 else (TOGETHER,)
    return [(order, way) for order in orders for way in ways]


def answering(
    engine: Engine, *, graph: str, options: Options, order: str, way: str
) -> Callable[[Sequence[str]], list[Prediction]]:
    """A function like `Engine.predict`, for texts of one window.

    Args:
        engine: tokenises; knows the heads.
        graph: a file with the same outputs and an ``attention_mask``.
        options: of its session.
        order: of `polyhead_bench.peers.padded.ORDERS`.
        way: `SIDE_BY_SIDE` or `TOGETHER`.
    """
    cores = threads.budget()
    side_by_side = way == SIDE_BY_SIDE
    session = opened(Path(graph), options, threads=1 if side_by_side else cores)
    specs = engine.heads
    faces = {name: decoder(name, spec) for name, spec in specs.items()}
    outputs = [spec.output for spec in specs.values()]
    pool = ThreadPoolExecutor(cores if side_by_side else 1)

    def batch(encodings: Sequence[Encoding]) -> list[Prediction]:
        known = padded.feeds([encoding.ids for encoding in encodings])
        arrays = session.run(outputs, {name: known[name] for name in session.inputs})
        predictions = []
        for row, encoding in enumerate(encodings):
            results = {}
            for (name, face), array in zip(faces.items(), arrays, strict=True):
                per_token = array.ndim == 3
                logits = array[row, : len(encoding)] if per_token else array[row]
                results[name] = face.decode(logits, encoding)
            predictions.append(Prediction(encoding.text, results, tokens=len(encoding)))
        return predictions

    def predict(texts: Sequence[str]) -> list[Prediction]:
        encodings = engine.encode(texts)
        parts = padded.batches([len(encoding) for encoding in encodings], order)
        answers = pool.map(lambda part: batch([encodings[i] for i in part]), parts)
        found = {
            i: prediction
            for part, predictions in zip(parts, answers, strict=True)
            for i, prediction in zip(part, predictions, strict=True)
        }
        return [found[i] for i in range(len(texts))]

    return predict
