"""Mixed precision on this CPU or GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def bf16(precision: str) -> bool:
    """Whether to train in bf16 autocast; ``"auto"`` asks the CPU or GPU for the instructions."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    flags = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, flag, lambda: False)() for flag in flags)


@contextmanager
def autocast(enabled: bool) -> Iterator[None]:
    """bf16 products on the CPU, where `enabled`, with plain ones in the attention.

    Without dropout torch takes its fused attention, whose backward pass in bf16 is slow: 60% of a
    step of MiniLM on texts of 25 tokens, 0.22 s, which takes 0.11 s so (torch 2.13, two cores of a
    Xeon with AMX). In fp32 the fused one is faster.
    """
    if enabled:
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            yield
    else:
        yield
