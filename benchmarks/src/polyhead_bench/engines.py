"""What can be measured: each name makes an engine that answers through the same decoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from polyhead import Engine, load


def _bundle(path: Path, threads: int) -> Engine:
    return load(path, threads=threads)


def _torch(path: Path, threads: int) -> Engine:
    import torch

    from polyhead_models import checkpoint

    torch.set_num_threads(threads)
    return checkpoint.load(path).engine()


ENGINES: dict[str, Callable[[Path, int], Engine]] = {"polyhead": _bundle, "torch": _torch}
"""By name: a function of the model's folder and the number of threads it may use."""
