"""The PyTorch model behind a bundle, through the same tokenizer and decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from polyhead.text.encoding import Input
from polyhead_bench.peers import padded
from polyhead_bench.peers.base import Answers, Feeds
from polyhead_models import checkpoint

_EQUAL = "equal lengths"


class TorchPeer(padded.PaddedPeer):
    """A checkpoint's engine, which reads long texts in windows; or batches of 32 with padding.

    Plain, compiled, or in bf16 autocast.
    """

    def __init__(self, folder: Path, threads: int, options: Mapping[str, Any]) -> None:
        torch.set_num_threads(threads)
        loaded = checkpoint.load(folder)
        if options.get("compiled"):
            loaded.model.encoder.compile(dynamic=True)
        self._model, self._engine = loaded.model, loaded.engine()
        self._autocast = bool(options.get("autocast"))
        self._names = options.get("heads") or list(loaded.model.specs)
        super().__init__(
            self._forward,
            ["input_ids", "attention_mask", *({"token_type_ids"} & set(loaded.model.inputs))],
            {name: loaded.model.specs[name] for name in self._names},
            loaded.tokenizer,
            loaded.description.config.encoder.max_tokens,
            info={"torch": torch.__version__, "threads": torch.get_num_threads()},
        )
        self.schedules = (_EQUAL, *(name for name in self.schedules if "batch 32" in name))

    def answer(self, text: Input) -> Answers:
        """Answer one text."""
        return self.answer_all([text], _EQUAL)[0]

    def answer_all(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Answer many, in batches of equal length or with padding."""
        if schedule != _EQUAL:
            return super().answer_all(texts, schedule)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
            found = self._engine.predict(texts, heads=list(self._names))
        return [{name: r.to_dict() for name, r in p.results.items()} for p in found]

    def info(self) -> Mapping[str, Any]:
        """Version and threads; no limit of tokens, as long texts are read in windows."""
        return {name: value for name, value in super().info().items() if name != "max_tokens"}

    def _forward(self, feeds: Feeds) -> Sequence[Any]:
        tensors = {name: torch.from_numpy(feed) for name, feed in feeds.items()}
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
            found = self._model(**tensors)
        return [found[name].float().numpy() for name in self._names]


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> TorchPeer:
    """Load the checkpoint in `folder`."""
    return TorchPeer(folder, threads, options)
