"""Is a graph a graph of this model? Asked before any time is taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead_bench.errors import PeerFault

TOLERANCE = 0.35
"""Most that an output may be off: the norm of its error by the norm of PyTorch's logits.

Dynamic int8 graphs of MiniLM were off by up to 0.19; another model is off by about 1.
"""


@dataclass(frozen=True)
class Reference:
    """What the PyTorch model answers.

    Attributes:
        rows: token ids; each row is asked alone.
        logits: by output, those of all rows, one after the other.
    """

    rows: tuple[tuple[int, ...], ...]
    logits: Mapping[str, NDArray[np.float32]]

    def errors(self, answers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """How far each output is off, see `TOLERANCE`.

        Args:
            answers: for each row, nested lists by output.

        Raises:
            PeerFault: when an output is missing, has another size or is off by more.
        """
        found = {}
        for name, expected in self.logits.items():
            if any(name not in answer for answer in answers):
                raise PeerFault(f"it has no output {name!r}.")
            given = _joined(answer[name] for answer in answers)
            if given.shape != expected.shape:
                raise PeerFault(f"{name}: {given.size:,} numbers, expected {expected.size:,}.")
            scale = max(float(np.linalg.norm(expected)), float(np.finfo(np.float32).tiny))
            found[name] = error = float(np.linalg.norm(given - expected)) / scale
            if not error <= TOLERANCE:  # also NaN
                raise PeerFault(
                    f"other answers than PyTorch's: {name} is off by {error:.2f} of its norm,"
                    f" allowed is {TOLERANCE:g}; it was not timed."
                )
        return found


def of_model(model: Any, rows: Iterable[Sequence[int]]) -> Reference:
    """Ask a `polyhead_models.model.MultiHeadModel`.

    Args:
        model: in evaluation mode afterwards.
        rows: token ids, at least one row.
    """
    import torch

    asked = tuple(tuple(int(token) for token in row) for row in rows)
    answers = []
    with torch.inference_mode():
        for row in asked:
            ids = torch.tensor([row])
            answers.append(model.eval()(ids, torch.ones_like(ids)))
    logits = {
        spec.output: _joined(answer[head].float().numpy() for answer in answers)
        for head, spec in model.specs.items()
    }
    return Reference(asked, logits)


def _joined(arrays: Iterable[Any]) -> NDArray[np.float32]:
    return np.concatenate([np.ravel(np.asarray(array, np.float32)) for array in arrays])
