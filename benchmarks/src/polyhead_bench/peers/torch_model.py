"""The PyTorch model behind a bundle, through the same tokenizer and decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from polyhead.tokenizing import Input
from polyhead_bench.peers.base import Answers
from polyhead_models import checkpoint


class TorchPeer:
    """A checkpoint's engine; plain, compiled, or in bf16 autocast."""

    schedules = ("equal-lengths",)
    callers = 1

    def __init__(self, folder: Path, threads: int, options: Mapping[str, Any]) -> None:
        torch.set_num_threads(threads)
        loaded = checkpoint.load(folder)
        if options.get("compiled"):
            loaded.model.encoder.compile(dynamic=True)
        self._engine = loaded.engine()
        self._heads = options.get("heads")
        self._autocast = bool(options.get("autocast"))

    def answer(self, text: Input) -> Answers:
        """Answer one text."""
        return self.answer_all([text], "equal-lengths")[0]

    def answer_all(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Answer many, in batches of equal length."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
            found = self._engine.predict(texts, heads=self._heads)
        return [{name: r.to_dict() for name, r in p.results.items()} for p in found]

    def profile(self, text: Input) -> Mapping[str, float]:
        """Not told."""
        return {}

    def info(self) -> Mapping[str, Any]:
        """Version and threads."""
        return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> TorchPeer:
    """Load the checkpoint in `folder`."""
    return TorchPeer(folder, threads, options)
