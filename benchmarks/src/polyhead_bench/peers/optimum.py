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

    def make(count: int) -> tuple[padded.Run, list[str]]:
        settings = ort.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = count, 1
        models = [
            loader.from_pretrained(folder / name, session_options=settings)
            for name, loader in loaders.items()
        ]
        inputs = list(models[0].input_names)
        return lambda feeds: [model(**feeds).logits for model in models], inputs

    return padded.peer(make, threads, options, info={"onnxruntime": ort.__version__})
