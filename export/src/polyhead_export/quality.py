"""The exported graph against the PyTorch model, head by head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from polyhead import Engine, Prediction
from polyhead.bundle import HeadQuality
from polyhead.heads import decoder
from polyhead.tokenizing import Input
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import figures, inputs
from polyhead_models.metrics import METRICS

_CHUNK = 256


def measure(
    checkpoint: Checkpoint, exported: Engine, examples: Sequence[Example], split: str
) -> dict[str, HeadQuality]:
    """Figures of both models on the same texts.

    Args:
        checkpoint: the trained model.
        exported: an engine over the graph.
        examples: texts with references; at least one.
        split: where they are from.
    """
    trained = checkpoint.engine()
    texts = inputs(examples)
    before = _answers(trained, texts, "PyTorch")
    after = _answers(exported, texts, "exported")
    reached = [figures(trained.heads, examples, side.predictions) for side in (before, after)]
    found = {}
    for name, spec in trained.heads.items():
        asked = [i for i, prediction in enumerate(before.predictions) if name in prediction]
        if not asked:
            continue
        fp32, own = (side.get(name) for side in reached)
        found[name] = HeadQuality(
            split=split,
            texts=len(asked),
            metric=fp32.metric if fp32 else None,
            fp32=fp32.value if fp32 else None,
            exported=own.value if own else None,
            agreement=METRICS[spec.kind].agreement(
                [after.predictions[i][name] for i in asked],
                [before.predictions[i][name] for i in asked],
            ),
            max_logit_error=max(
                float(np.abs(after.logits[name][i] - before.logits[name][i]).max()) for i in asked
            ),
        )
    return found


@dataclass(frozen=True)
class _Answers:
    """One model's logits, by head and text, and what they mean."""

    logits: dict[str, list[NDArray[np.float32]]]
    predictions: list[Prediction]


def _answers(engine: Engine, texts: Sequence[Input], label: str) -> _Answers:
    """Run each text once."""
    logits: dict[str, list[NDArray[np.float32]]] = {name: [] for name in engine.heads}
    with tqdm(total=len(texts), desc=label, unit="text", leave=False) as bar:
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            for name, rows in engine.logits(chunk).items():
                logits[name] += rows
            bar.update(len(chunk))
    faces = {name: decoder(name, spec) for name, spec in engine.heads.items()}
    predictions = []
    for i, encoding in enumerate(engine.encode(texts)):
        results = {
            name: face.decode(logits[name][i], encoding)
            for name, face in faces.items()
            if engine.heads[name].input == encoding.kind
        }
        windows = len(encoding.starts)
        predictions.append(Prediction(encoding.text, results, len(encoding), windows))
    return _Answers(logits, predictions)
