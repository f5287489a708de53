"""From encoded inputs to logits and results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyhead.model import Model
from polyhead.prediction import Prediction
from polyhead.request import Options, Wanted
from polyhead.scheduling import Request, Scheduler
from polyhead.tokenizing import Encoding

Logits = dict[str, list[NDArray[np.float32]]]
NOTHING = np.empty(0, np.float32)


def compute(
    model: Model, scheduler: Scheduler, encodings: Sequence[Encoding], wanted: Wanted
) -> Logits:
    """Logits by head and input; empty, `(0,)`, where a head does not read the input's kind."""
    return compute_all([Work(model, encodings, wanted)], scheduler)[0]


@dataclass(frozen=True)
class Work:
    """Inputs for one model, and the heads that shall answer."""

    model: Model
    encodings: Sequence[Encoding]
    wanted: Wanted


def compute_all(works: Sequence[Work], scheduler: Scheduler) -> list[Logits]:
    """What `compute` gives for each model; all of them run at once, as far as threads allow.

    Models with one back end that read the same encodings share a run, with the outputs of both.
    """
    found: list[Logits] = []
    requests: dict[tuple[int, ...], Request] = {}
    collect: list[tuple[Logits, Work, Sequence[str], list[int], tuple[int, ...]]] = []
    for work in works:
        logits: Logits = {
            name: [NOTHING] * len(work.encodings)
            for names in work.wanted.values()
            for name in names
        }
        found.append(logits)
        for kind, names in work.wanted.items():
            rows = [i for i, encoding in enumerate(work.encodings) if encoding.kind == kind]
            if not names or not rows:
                continue
            backend = work.model.backend
            key = (id(backend), *(id(work.encodings[i]) for i in rows))
            outputs = [work.model.specs[name].output for name in names]
            if key in requests:
                _, known, windows = requests[key]
                outputs = [*known, *(o for o in outputs if o not in known)]
            else:
                windows = [(work.encodings[i], w) for i in rows for w in work.encodings[i].windows]
            requests[key] = (backend, outputs, windows)
            collect.append((logits, work, names, rows, key))
    computed = dict(zip(requests, scheduler.run_all(list(requests.values())), strict=True))
    for logits, work, names, rows, key in collect:
        parts = iter(computed[key])
        columns = [requests[key][1].index(work.model.specs[name].output) for name in names]
        for i in rows:
            of_input = [next(parts) for _ in work.encodings[i].starts]
            for column, name in zip(columns, names, strict=True):
                logits[name][i] = _joined([part[column] for part in of_input])
    return found


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
