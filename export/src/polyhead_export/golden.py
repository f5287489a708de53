"""Golden examples: what the trained model answers, for whoever has only the bundle."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polyhead import Engine
from polyhead.bundle import Golden, GoldenExample
from polyhead.strict import plain

_COUNT = 12
# Another CPU may round a quantised activation the other way; half as much again leaves it room.
_SLACK, _FLOOR = 1.5, 1e-4


def golden_texts(texts: Sequence[str], *, seed: int) -> list[str]:
    """A seeded sample of up to 12 different texts, and the empty text."""
    distinct = sorted(set(texts))
    return ["", *random.Random(seed).sample(distinct, min(_COUNT, len(distinct)))]


def write_golden(
    path: Path, graph: str, trained: Engine, exported: Engine, texts: Sequence[str]
) -> None:
    """Write `golden.json`.

    Args:
        path: the file.
        graph: file name of the exported graph.
        trained: an engine over the PyTorch model; its answers are recorded.
        exported: an engine over the graph; how far it is off becomes the tolerance.
        texts: at least one.
    """
    kept = [e.text for e in trained.tokenizer.encode(texts) if len(e) <= _limit(trained)]
    encodings = trained.tokenizer.encode(kept)
    expected, found = trained.logits(kept), exported.logits(kept)
    predictions = trained.predict(kept)
    golden = Golden(
        tolerance={
            graph: {
                head: _SLACK * max(_error(a, b) for a, b in zip(found[head], rows, strict=True))
                + _FLOOR
                for head, rows in expected.items()
            }
        },
        examples=tuple(
            GoldenExample(
                text=encoding.text,
                ids=tuple(encoding.ids.tolist()),
                logits={head: rows[i].tolist() for head, rows in expected.items()},
                results={head: predictions[i][head].to_dict() for head in expected},
            )
            for i, encoding in enumerate(encodings)
        ),
    )
    text = json.dumps(plain(golden), ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _limit(engine: Engine) -> int:
    return int(engine.info()["max_tokens"])


def _error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max(initial=0.0))
