"""What int8 will do to a student, while it can still learn to bear it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from polyhead_models.parts import layers_of

_LEVELS = 127


@contextmanager
def rounded(encoder: PreTrainedModel) -> Iterator[None]:
    """Inputs of all linears of the layers are rounded to 255 values, one scale for all of a batch.

    Gradients pass as if they were not (straight-through, Bengio et al. 2013, arXiv 1308.3432).
    """
    linears = {m for layer in layers_of(encoder) for m in layer.modules() if type(m) is nn.Linear}
    hooks = [linear.register_forward_pre_hook(_round) for linear in linears]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _round(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    values: Tensor = arguments[0]
    exact = values.detach().float()
    scale = exact.abs().amax().clamp_min(1e-12) / _LEVELS
    error = (exact / scale).round() * scale - exact
    return (values + error.to(values.dtype), *arguments[1:])
