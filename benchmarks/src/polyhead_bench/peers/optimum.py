"""Optimum's ORTModel classes, one a head, in batches with padding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch
from optimum import onnxruntime as optimum

from polyhead.bundle import read
from polyhead_bench.errors import PeerFault
from polyhead_bench.peers import padded

_SEQUENCE = "ORTModelForSequenceClassification"
_LOADERS = {
    "classification.v1": _SEQUENCE,
    "multilabel.v1": _SEQUENCE,
    "regression.v1": _SEQUENCE,
    "tokens.v1": "ORTModelForTokenClassification",
}


def load(folder: Path, threads: int, options: Mapping[str, Any]) -> padded.PaddedPeer:
    """Load a graph for each of the wanted heads; `folder` has a folder for each."""
    torch.set_num_threads(threads)
    heads = read(options["bundle"]).manifest.heads
    loaders = {}
    for name in options["heads"]:
        if heads[name].kind not in _LOADERS:
            raise PeerFault(
                f"head {name!r}: Optimum has no model class for {heads[name].kind}; there are"
                f" classes for {', '.join(_LOADERS)}."
            )
        loaders[name] = getattr(optimum, _LOADERS[heads[name].kind])

    def models(count: int) -> list[Any]:
        settings = ort.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = count, 1
        return [
            loader.from_pretrained(folder / name, session_options=settings)
            for name, loader in loaders.items()
        ]

    def runner(models: list[Any]) -> padded.Run:
        return lambda feeds: [model(**feeds).logits for model in models]

    def workers() -> list[padded.Run]:
        return [runner(models(1)) for _ in range(threads)]

    first = models(threads)
    inputs = list(first[0].input_names)
    info = {"onnxruntime": ort.__version__, "threads": threads}
    side_by_side = workers if threads > 1 else None
    return padded.peer(runner(first), inputs, options, info=info, workers=side_by_side)
