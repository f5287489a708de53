"""Golden examples: what the trained model answers, for whoever has only the bundle."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead import Engine, Prediction
from polyhead.bundle import Golden, GoldenExample
from polyhead.system.schema import plain
from polyhead.text.encoding import Encoding, Input, flat

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
    reference: Engine,
    exported: Mapping[str, Engine],
    texts: Sequence[Input],
    *,
    least: Mapping[str, float] | None = None,
    steps: Mapping[str, str] | None = None,
) -> list[Encoding]:
    """Write `golden.json`.

    Args:
        path: the file.
        reference: an engine over the PyTorch model; its answers are recorded.
        exported: engines over the graphs, by file name; how far one is off becomes its tolerance.
        texts: at least one.
        least: by file name, a share of a head's largest logit, or of 1 where that is smaller, that
            is tolerated in any case: for graphs made for another machine than this one.
        steps: by head that writes, the file of its decoder's steps: its tolerance is the share of
            these texts that the first engine writes another answer to.

    Returns:
        The texts that were written: those that the encoder reads whole.
    """
    limit = int(reference.info()["max_tokens"])
    kept = [e.input for e in reference.tokenizer.encode(texts) if len(e) <= limit]
    encodings = reference.tokenizer.encode(kept)
    expected = reference.logits(kept)
    predictions = reference.predict(kept)
    golden = Golden(
        tolerance={
            file: _tolerance(engine, kept, expected, (least or {}).get(file, 0.0))
            for file, engine in exported.items()
        }
        | _rewritten(next(iter(exported.values())), kept, predictions, steps or {}),
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
    text = json.dumps(
        _short(plain(golden)), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    path.write_text(text + "\n", encoding="utf-8")
    return encodings


def _rewritten(
    engine: Engine, texts: Sequence[Input], expected: Sequence[Prediction], steps: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    found = {}
    for head, file in steps.items():
        rows = [i for i, item in enumerate(texts) if isinstance(item, str)]
        answers = engine.predict([texts[i] for i in rows], heads=[head])
        pairs = ((a[head], expected[i][head]) for a, i in zip(answers, rows, strict=True))
        changed = [a.decision != b.decision for a, b in pairs]
        found[file] = {head: sum(changed) / max(1, len(changed))}
    return found


def _short(value: Any) -> Any:
    """Plain data with each number in the nine digits that identify a float32."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list | tuple) else value


def _tolerance(
    engine: Engine,
    texts: Sequence[Input],
    expected: Mapping[str, Sequence[NDArray[np.float32]]],
    least: float,
) -> dict[str, float]:
    """By head of the engine: half as much again as it is off on these texts, at least `least`."""
    found = {}
    for head, spec in engine.heads.items():
        rows = [
            i for i, item in enumerate(texts) if (spec.input == "text") == isinstance(item, str)
        ]
        logits = engine.logits([texts[i] for i in rows], heads=[head])[head]
        pairs = [(a, expected[head][i]) for a, i in zip(logits, rows, strict=True)]
        error = max((float(np.abs(a - b).max(initial=0.0)) for a, b in pairs), default=0.0)
        largest = max((float(np.abs(b).max(initial=0.0)) for _, b in pairs), default=0.0)
        found[head] = max(_SLACK * error + _FLOOR, least * max(largest, 1.0))
    return found
