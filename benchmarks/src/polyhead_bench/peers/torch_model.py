"""The PyTorch model behind a bundle, through the same tokenizer and decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polyhead.heads import decoder
from polyhead.text.encoding import Encoding, Input
from polyhead_bench.peers import padded
from polyhead_bench.peers.base import Answers, Feeds, Peer, all_ones
from polyhead_models import checkpoint

_EQUAL = "equal lengths"
_ALWAYS = ("input_ids", "attention_mask")
_PADDED = tuple(name for name in padded.SCHEDULES if name.startswith("batch 32"))


class TorchPeer(Peer):
    """A checkpoint's engine; plain, compiled, or in bf16 autocast."""

    schedules = (_EQUAL, *_PADDED)

    def __init__(self, folder: Path, threads: int, options: Mapping[str, Any]) -> None:
        torch.set_num_threads(threads)
        loaded = checkpoint.load(folder)
        if options.get("compiled"):
            loaded.model.encoder.compile(dynamic=True)
        self._model = loaded.model
        self._engine = loaded.engine()
        names = options.get("heads") or list(loaded.model.specs)
        self._specs = {name: loaded.model.specs[name] for name in names}
        self._decoders = {name: decoder(name, spec) for name, spec in self._specs.items()}
        self._more = [n for n in ("token_type_ids",) if n in loaded.model.inputs]
        self._autocast = bool(options.get("autocast"))

    def answer(self, text: Input) -> Answers:
        """Answer one text."""
        return self.answer_all([text], _EQUAL)[0]

    def answer_all(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Answer many, in batches of equal length or with padding."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
            if schedule == _EQUAL:
                return self._equal(texts)
            return self._padded(texts, schedule)

    def _equal(self, texts: Sequence[Input]) -> list[Answers]:
        found = self._engine.predict(texts, heads=list(self._specs))
        return [{name: r.to_dict() for name, r in p.results.items()} for p in found]

    def _padded(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Texts beyond the encoder's limit are read in windows, which the engine does."""
        encodings = self._engine.encode(texts)
        lengths = [len(encoding) for encoding in encodings]
        short = [i for i, encoding in enumerate(encodings) if len(encoding.starts) == 1]
        answers: dict[int, Answers] = {}
        for batch in padded.batches([lengths[i] for i in short], schedule):
            rows = [short[i] for i in batch]
            found = self._logits([encodings[i] for i in rows])
            for row, i in enumerate(rows):
                answers[i] = {}
                for name, spec in self._specs.items():
                    own = found[name][row]
                    own = own[: lengths[i]] if spec.kind in padded.PER_TOKEN else own
                    answers[i][name] = self._decoders[name].decode(own, encodings[i]).to_dict()
        for i in sorted(set(range(len(texts))) - answers.keys()):
            (answers[i],) = self._equal([texts[i]])
        return [answers[i] for i in range(len(texts))]

    def _logits(self, encodings: Sequence[Encoding]) -> dict[str, NDArray[np.float32]]:
        """Logits by head, `(batch, …)`, in the batch's padding too."""
        feeds = padded.feeds([encoding.ids for encoding in encodings])
        for row, encoding in enumerate(encodings):
            feeds["token_type_ids"][row, : len(encoding)] = encoding.token_types
        found = self.run_graph(feeds)
        return {name: one.float().numpy() for name, one in zip(self._specs, found, strict=True)}

    def encode(self, text: Input) -> Feeds:
        """The first window of a text."""
        (encoding,) = self._engine.encode([text])
        first = encoding.split()[0]
        return {**all_ones(first.ids[None]), "token_type_ids": first.token_types[None]}

    def run_graph(self, feeds: Feeds) -> Sequence[Any]:
        """The model's forward pass: logits by head as tensors."""
        known = {name: torch.from_numpy(feeds[name]) for name in (*_ALWAYS, *self._more)}
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=self._autocast),
        ):
            found = self._model(**known)
        return [found[name] for name in self._specs]

    def info(self) -> Mapping[str, Any]:
        """Version and threads."""
        return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> TorchPeer:
    """Load the checkpoint in `folder`."""
    return TorchPeer(folder, threads, options)
