"""Everything that can be measured, by name: one small module each, run in a process of its own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhead.errors import nearest
from polyhead_bench.errors import BenchError
from polyhead_bench.peers.base import Peer


@dataclass(frozen=True, kw_only=True)
class PeerSpec:
    """A peer, before it is loaded.

    Attributes:
        about: what it is, for people.
        module: in this package; its function ``load(folder, threads, options)`` makes the `Peer`.
        options: that go to `load`, over those of the run.
        environment: name of the virtual environment that it needs; None runs in this one.
        model: what its folder holds: the bundle as it is, the checkpoint, or what
            `polyhead_bench.preparation` makes of them under this name.
    """

    about: str
    module: str
    options: Mapping[str, Any]
    environment: str | None = None
    model: str


def _spec(about: str, module: str, model: str, env: str | None = None, **options: Any) -> PeerSpec:
    return PeerSpec(about=about, module=module, model=model, environment=env, options=options)


PEERS: dict[str, PeerSpec] = {
    "polyhead-int8": _spec("this project's int8 bundle", "bundle", "bundle"),
    "polyhead-fp32": _spec("this project's fp32 bundle", "bundle", "fp32"),
    "separate-int8": _spec("an int8 bundle for each head, one by one", "separate", "separate"),
    "torch": _spec("the PyTorch model", "torch_model", "checkpoint"),
    "torch-bf16": _spec(
        "the PyTorch model, bf16 autocast", "torch_model", "checkpoint", autocast=True
    ),
    "torch-compile": _spec(
        "the PyTorch model, torch.compile", "torch_model", "checkpoint", compiled=True
    ),
    "hf-pipeline": _spec("transformers pipelines, one a head", "hf_pipeline", "checkpoint"),
    "optimum-fp32": _spec(
        "Optimum's ORTModel over polyhead's fp32 graph, one a head",
        "optimum",
        "optimum",
        "optimum",
    ),
}
"""By name, in the order of reports."""


def spec(name: str) -> PeerSpec:
    """A peer by its name.

    Raises:
        BenchError: when there is none; names the nearest.
    """
    if name not in PEERS:
        raise BenchError(
            f"no peer {name!r}; there are {', '.join(PEERS)}.{nearest(name, list(PEERS))}"
        )
    return PEERS[name]


def load(name: str, folder: Path, threads: int, options: Mapping[str, Any]) -> Peer:
    """Make a peer in this process.

    Args:
        name: in `PEERS`.
        folder: of its model.
        threads: that it may use.
        options: settings of the run: ``heads``, names of the heads to answer with (all without it).
    """
    known = spec(name)
    module = importlib.import_module(f"polyhead_bench.peers.{known.module}")
    peer: Peer = module.load(folder, threads, {**options, **known.options})
    return peer
