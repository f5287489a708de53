"""Golden examples: what the trained model answers, for whoever has only the bundle."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from polyhead import Engine
from polyhead.bundle import Golden, GoldenExample
from polyhead.strict import plain
from polyhead.tokenizing import Encoding, Input, flat

_COUNT = 12
# Another CPU may round a quantised activation the other way; half as much again leaves it room.
_SLACK, _FLOOR = 1.5, 1e-4


def golden_texts(texts: Sequence[Input], kinds: Collection[str], *, seed: int) -> list[Input]:
    """A seeded sample of up to 12 different texts and pairs, and an empty one of each kind.

    Args:
        texts: to sample from.
        kinds: what the heads read, ``"text"``, ``"pair"`` or both.
        seed: of the sample.
    """
    empty: dict[str, Input] = {"text": "", "pair": ("", "")}
    distinct = sorted(set(texts), key=flat)
    sampled = random.Random(seed).sample(distinct, min(_COUNT, len(distinct)))
    return [*(item for kind, item in empty.items() if kind in kinds), *sampled]


def write_golden(
    path: Path, graph: str, trained: Engine, exported: Engine, texts: Sequence[Input]
) -> list[Encoding]:
    """Write `golden.json`.

    Args:
        path: the file.
        graph: file name of the exported graph.
        trained: an engine over the PyTorch model; its answers are recorded.
        exported: an engine over the graph; how far it is off becomes the tolerance.
        texts: at least one.

    Returns:
        The texts that were written: those that the encoder reads whole.
    """
    kept = [e.input for e in trained.tokenizer.encode(texts) if len(e) <= _limit(trained)]
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
                text=encoding.input,
                ids=tuple(encoding.ids.tolist()),
                logits={head: expected[head][i].tolist() for head in predictions[i]},
                results={head: r.to_dict() for head, r in predictions[i].results.items()},
            )
            for i, encoding in enumerate(encodings)
        ),
    )
    text = json.dumps(plain(golden), ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return encodings


def _limit(engine: Engine) -> int:
    return int(engine.info()["max_tokens"])


def _error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max(initial=0.0))
