"""Rounding weights so that the error of one input makes up for those of others.

GPTQ (Frantar et al. 2022, arXiv 2210.17323, section 3.3): inputs are rounded one after the other,
and what a linear loses by one is given to the inputs that are not rounded yet, as far as these go
together in real texts: by the second moments ``x^T x`` of what the linear reads. It costs nothing
at run time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead_export.passes.quantise_linears import LARGEST, weight_scales

_BLOCK = 64
_DAMPING = 0.1


def nearest(weight: NDArray[np.floating[Any]]) -> NDArray[np.int8]:
    """Each weight rounded by itself; see `weight_scales`."""
    steps: NDArray[np.floating[Any]] = np.rint(weight / weight_scales(weight))
    return steps.astype(np.int8)


def compensated(
    weight: NDArray[np.float32], moments: NDArray[np.float32], tokens: int
) -> NDArray[np.int8]:
    """Rounded together.

    A few tokens say more of each input's size than of which go together, and a text may hold what
    none of them did. So each input is taken to be a little larger by itself, the more the fewer
    tokens there are. On tokens like that, no output has a larger error than with `nearest`.

    Args:
        weight: float32 `(inputs, outputs)`.
        moments: sum of ``x^T x`` over tokens x, float32 `(inputs, inputs)`.
        tokens: how many these are.

    Returns:
        int8 `(inputs, outputs)`; see `weight_scales`.
    """
    order = np.argsort(-np.diagonal(moments), kind="stable")
    damped = moments[np.ix_(order, order)].astype(np.float64)
    own = np.diagonal(damped).mean() * max(_DAMPING, len(damped) / (len(damped) + tokens))
    damped[np.diag_indices_from(damped)] += max(own, 1e-12)
    # Row i of the upper factor of the inverse is what is left of the inverse's row i when the
    # inputs before i are fixed, over the root of its diagonal.
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    left, scales = weight[order].astype(np.float64), weight_scales(weight)
    values, error = np.empty(weight.shape, np.int8), np.zeros(len(scales))
    for first in range(0, len(left), _BLOCK):
        end = min(first + _BLOCK, len(left))
        lost = np.empty((end - first, left.shape[1]))
        for i in range(first, end):
            values[i] = kept = np.clip(np.rint(left[i] / scales), -LARGEST, LARGEST)
            lost[i - first] = (left[i] - kept * scales) / upper[i, i]
            left[i + 1 : end] -= np.outer(upper[i, i + 1 : end], lost[i - first])
        left[end:] -= upper[first:end, end:].T @ lost
        error += np.square(lost).sum(axis=0)
    alone = nearest(weight)[order]
    lost = weight[order] - alone * scales
    worse = np.einsum("io,io->o", lost, damped @ lost) < error
    values[:, worse] = alone[:, worse]
    back = np.empty_like(values)
    back[order] = values
    return back
