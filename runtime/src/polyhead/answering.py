"""From encoded inputs to logits and results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polyhead.model import Model
from polyhead.prediction import Prediction
from polyhead.request import Options, Wanted
from polyhead.scheduling import Scheduler, Window
from polyhead.tokenizing import Encoding

Logits = dict[str, list[NDArray[np.float32]]]
_NOTHING = np.empty(0, np.float32)


def compute(
    model: Model, scheduler: Scheduler, encodings: Sequence[Encoding], wanted: Wanted
) -> Logits:
    """Logits by head and input; empty, `(0,)`, where a head does not read the input's kind."""
    logits: Logits = {
        name: [_NOTHING] * len(encodings) for names in wanted.values() for name in names
    }
    for kind, names in wanted.items():
        rows = [i for i, encoding in enumerate(encodings) if encoding.kind == kind]
        if not names or not rows:
            continue
        windows: list[Window] = [(encodings[i], w) for i in rows for w in encodings[i].windows]
        outputs = [model.specs[name].output for name in names]
        found = iter(scheduler.run(model.backend, outputs, windows))
        for i in rows:
            of_input = [next(found) for _ in encodings[i].starts]
            for column, name in enumerate(names):
                logits[name][i] = _joined([part[column] for part in of_input])
    return logits


def predictions(
    model: Model, encodings: Sequence[Encoding], wanted: Wanted, logits: Logits, options: Options
) -> list[Prediction]:
    """Decode the wanted heads of each input."""
    return [
        Prediction(
            text=encoding.text,
            results={
                name: model.decoders[name].decode(
                    logits[name][i], encoding, **options.get(name, {})
                )
                for name in wanted[encoding.kind]
            },
            tokens=len(encoding),
            windows=len(encoding.starts),
            truncated=encoding.truncated,
            query=encoding.query,
        )
        for i, encoding in enumerate(encodings)
    ]


def _joined(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The logits of all windows of a text: rows for heads per text, end to end for others."""
    if len(arrays) == 1:
        return arrays[0]
    return np.stack(arrays) if arrays[0].ndim == 1 else np.concatenate(arrays)
