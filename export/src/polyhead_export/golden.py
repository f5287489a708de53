"""Golden examples: what the trained model answers, for whoever has only the bundle."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polyhead import Engine
from polyhead.bundle import Golden, GoldenExample
from polyhead.strict import plain
from polyhead.tokenizing import Input, flat

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
    path: Path,
    graph: str,
    trained: Engine,
    exported: Engine,
    texts: Sequence[Input],
    *,
    also: Mapping[str, Engine] | None = None,
) -> None:
    """Write `golden.json`.

    Args:
        path: the file.
        graph: file name of the exported graph.
        trained: an engine over the PyTorch model; its answers are recorded.
        exported: an engine over the graph; how far it is off becomes the tolerance.
        texts: at least one.
        also: engines over further graphs, by file name; they get tolerances, too.
    """
    kept = [e.input for e in trained.tokenizer.encode(texts) if len(e) <= _limit(trained)]
    encodings = trained.tokenizer.encode(kept)
    expected = trained.logits(kept)
    predictions = trained.predict(kept)
    golden = Golden(
        tolerance={
            file: _tolerance(engine, kept, expected)
            for file, engine in {graph: exported, **(also or {})}.items()
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


def _tolerance(
    engine: Engine, texts: Sequence[Input], expected: Mapping[str, Sequence[NDArray[np.float32]]]
) -> dict[str, float]:
    """By head of the engine: half as much again as it is off on these texts."""
    found = {}
    for head, spec in engine.heads.items():
        rows = [
            i for i, item in enumerate(texts) if (spec.input == "text") == isinstance(item, str)
        ]
        logits = engine.logits([texts[i] for i in rows], heads=[head])[head]
        errors = [_error(a, expected[head][i]) for a, i in zip(logits, rows, strict=True)]
        found[head] = _SLACK * max(errors, default=0.0) + _FLOOR
    return found


def _limit(engine: Engine) -> int:
    return int(engine.info()["max_tokens"])


def _error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max(initial=0.0))
