"""Engines over the graphs of an export, before there is a bundle to load."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from polyhead import Engine
from polyhead.inference.backend import Backend
from polyhead.inference.session import OnnxSession
from polyhead_export.padding import PaddedBackend
from polyhead_models.checkpoint import Checkpoint


def engine_over(
    checkpoint: Checkpoint, path: Path, *, heads: Iterable[str], padded: bool = False
) -> Engine:
    """An engine over a graph on the CPU.

    Args:
        checkpoint: that the graph was made of.
        path: of the graph.
        heads: those that it has.
        padded: whether it is in the padded layout; its rows are padded then.
    """
    max_tokens = checkpoint.description.config.encoder.max_tokens
    session: Backend = OnnxSession(path)
    if padded:
        pad = getattr(checkpoint.model.encoder.config, "pad_token_id", None)
        session = PaddedBackend(session, max_tokens=max_tokens, pad=int(pad or 0))
    specs = {name: checkpoint.model.specs[name] for name in heads}
    return Engine(session, checkpoint.tokenizer, specs, max_tokens=max_tokens)
