"""Logits into probabilities, once for all heads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-probabilities over the last axis, shifted by the maximum so that nothing overflows."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    normaliser = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return np.asarray(shifted - normaliser, dtype=np.float32)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities over the last axis, shifted by the maximum so that nothing overflows."""
    # The ufuncs themselves: the methods of arrays are the same by way of Python.
    weights: NDArray[np.float32] = np.exp(
        logits - np.maximum.reduce(logits, axis=-1, keepdims=True)
    )
    weights /= np.add.reduce(weights, axis=-1, keepdims=True)
    return weights


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """The probability of each logit by itself, of any shape; nothing overflows.

    In float64, where probabilities near 1 still differ: thresholds are set between them.
    """
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits.astype(np.float64))))
