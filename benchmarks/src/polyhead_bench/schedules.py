"""The same weights in the padded layout: what serving would be without groups of equal length.

It takes the bundle's graph with a mask in the precision that the engine runs; tokenising and
decoding are the engine's own. Texts are sorted by length and padded to the longest of 32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort

from polyhead import Engine, Prediction, threads
from polyhead.bundle import Graph, read
from polyhead.heads import decoder
from polyhead.tokenizing import Encoding
from polyhead_bench.errors import BenchError

SCHEDULES = {"one session, all threads": False, "a thread a batch": True}
"""Both ways to use several cores; whether batches run side by side."""
_BATCH = 32
_PER_TOKEN = frozenset({"tokens.v1", "answer.v1", "summary.v1"})
# As `polyhead.session`: operators that onnxruntime's optimiser would make slower.
_KEEP_OUT = ("SkipLayerNormFusion", "BiasGeluFusion")


def graph(bundle: Path) -> Graph | None:
    """The bundle's padded graph in the precision of its exact one; None without one."""
    graphs = read(bundle).manifest.graphs
    precision = next((g.precision for g in graphs if g.layout == "exact"), None)
    return next((g for g in graphs if g.layout == "padded" and g.precision == precision), None)


def schedule(
    engine: Engine, bundle: Path, name: str
) -> Callable[[Sequence[str]], list[Prediction]]:
    """A function like `Engine.predict` for texts of one window.

    Args:
        engine: tokenises.
        bundle: folder of the bundle.
        name: of `SCHEDULES`.

    Raises:
        BenchError: when the bundle has no such graph.
    """
    found = graph(bundle)
    if found is None:
        raise BenchError(f"{bundle}: no padded graph in the precision of the exact one.")
    side_by_side, cores = SCHEDULES[name], threads.budget()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1 if side_by_side else cores
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(
        str(bundle / found.file),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=list(_KEEP_OUT),
    )
    specs = {n: spec for n, spec in engine.heads.items() if n in found.heads}
    faces = {n: decoder(n, spec) for n, spec in specs.items()}
    outputs = [spec.output for spec in specs.values()]
    pool = ThreadPoolExecutor(cores if side_by_side else 1)

    def batch(encodings: Sequence[Encoding]) -> list[Prediction]:
        longest = max(map(len, encodings))
        ids = np.zeros((len(encodings), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)], mask[row, : len(encoding)] = encoding.ids, 1
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        arrays = session.run(outputs, {name: known[name] for name in found.inputs})
        predictions = []
        for row, encoding in enumerate(encodings):
            results = {}
            for (name, spec), array in zip(specs.items(), arrays, strict=True):
                per_token = spec.kind in _PER_TOKEN
                logits = array[row, : len(encoding)] if per_token else array[row]
                results[name] = faces[name].decode(logits, encoding)
            predictions.append(Prediction(encoding.text, results, tokens=len(encoding)))
        return predictions

    def predict(texts: Sequence[str]) -> list[Prediction]:
        encodings = engine.encode(texts)
        order = sorted(range(len(texts)), key=lambda i: len(encodings[i]))
        parts = [order[i : i + _BATCH] for i in range(0, len(order), _BATCH)]
        found: list[Prediction | None] = [None] * len(texts)
        answers = pool.map(lambda part: batch([encodings[i] for i in part]), parts)
        for part, predictions in zip(parts, answers, strict=True):
            for i, prediction in zip(part, predictions, strict=True):
                found[i] = prediction
        return [prediction for prediction in found if prediction is not None]

    return predict
