"""sentence-transformers over the same encoder, for a head that gives vectors."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sentence_transformers
import torch
from sentence_transformers.sentence_transformer import modules

from polyhead.bundle import read
from polyhead.text.encoding import Input
from polyhead_bench.errors import PeerFault
from polyhead_bench.peers.base import Answers, Peer

_SIZES = {"batch 32, sorted": 32, "batch 8, sorted": 8, "one per call": 1}
_KIND = "embedding.v1"


class SentencePeer(Peer):
    """The library sorts a list by length itself, whatever the size of its batches."""

    schedules = tuple(_SIZES)

    def __init__(self, model: Any, name: str, info: Mapping[str, Any]) -> None:
        self._model, self._name, self._info = model, name, info

    def answer(self, text: Input) -> Answers:
        """Answer one text."""
        return self._vectors([text], 1)[0]

    def answer_all(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Answer many."""
        if schedule == "one per call":
            return [self.answer(text) for text in texts]
        return self._vectors(texts, _SIZES[schedule])

    def info(self) -> Mapping[str, Any]:
        """Versions and threads."""
        return self._info

    def _vectors(self, texts: Sequence[Input], size: int) -> list[Answers]:
        found = self._model.encode(list(texts), batch_size=size, show_progress_bar=False)
        return [{self._name: {"vector": row.tolist()}} for row in found]


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> SentencePeer:
    """Load the encoder in `folder`."""
    torch.set_num_threads(threads)
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    manifest = read(options["bundle"]).manifest
    known = {name: manifest.heads[name] for name in options["heads"]}
    if [(spec.kind, spec.layers) for spec in known.values()] != [(_KIND, "last")]:
        raise PeerFault(f"heads {', '.join(known)}: it takes one, an {_KIND} of the last layer.")
    ((name, spec),) = known.items()
    longest, width = manifest.encoder.max_tokens, manifest.encoder.hidden_size
    encoder = modules.Transformer(str(folder), max_seq_length=longest)
    parts = [encoder, modules.Pooling(width, spec.pooling), modules.Normalize()]
    model = sentence_transformers.SentenceTransformer(modules=parts, device="cpu")
    version = sentence_transformers.__version__
    info = {"sentence-transformers": version, "threads": threads, "max_tokens": longest}
    return SentencePeer(model, name, info)
