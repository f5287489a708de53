"""The exported graph against the PyTorch model, head by head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyhead import Engine
from polyhead.bundle import HeadQuality
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.data.examples import Example
from polyhead_models.evaluation import figures, predict
from polyhead_models.metrics import METRICS


def measure(
    checkpoint: Checkpoint, exported: Engine, examples: Sequence[Example], split: str
) -> dict[str, HeadQuality]:
    """Figures of both models on the same texts.

    Args:
        checkpoint: the trained model.
        exported: an engine over the graph that cuts over-long texts.
        examples: texts with references; at least one.
        split: where they are from.
    """
    trained = checkpoint.engine(on_overflow="truncate")
    texts = [example.text for example in examples]
    before = list(predict(trained, texts, label="PyTorch"))
    after = list(predict(exported, texts, label="exported"))
    errors = _errors(trained, exported, texts)
    reached = figures(trained.heads, examples, before), figures(trained.heads, examples, after)
    found = {}
    for name, spec in trained.heads.items():
        fp32, own = reached[0].get(name), reached[1].get(name)
        found[name] = HeadQuality(
            split=split,
            texts=len(texts),
            metric=fp32.metric if fp32 else None,
            fp32=fp32.value if fp32 else None,
            exported=own.value if own else None,
            agreement=METRICS[spec.kind].agreement(
                [p[name] for p in after], [p[name] for p in before]
            ),
            max_logit_error=errors[name],
        )
    return found


def _errors(trained: Engine, exported: Engine, texts: Sequence[str]) -> dict[str, float]:
    expected, found = trained.logits(texts), exported.logits(texts)
    return {
        head: max(
            float(np.abs(a - b).max()) for a, b in zip(found[head], expected[head], strict=True)
        )
        for head in expected
    }
