"""Everything that can be measured, by name: one small module each, run in a process of its own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from polyhead.errors import nearest
from polyhead_bench.errors import BenchError, PeerFault
from polyhead_bench.peers.base import Peer


@dataclass(frozen=True, kw_only=True)
class PeerSpec:
    """A peer, before it is loaded.

    Attributes:
        about: what it is, for people.
        module: in this package; its function ``load(folder, threads, options)`` makes the `Peer`.
        options: that go to `load`, over those of the run.
        environment: name of the virtual environment that it needs; None runs in this one.
        needs: module that has to be there where it runs in this environment.
        kind: the only kind of head that it answers; None for several.
        model: what its folder holds: the bundle as it is, the checkpoint, or what
            `polyhead_bench.preparation` makes of them under this name.
    """

    about: str
    module: str
    options: Mapping[str, Any]
    environment: str | None = None
    needs: str = "polyhead"
    kind: str | None = None
    model: str


def _spec(
    about: str,
    module: str,
    model: str,
    *,
    env: str | None = None,
    needs: str = "polyhead",
    kind: str | None = None,
    **options: Any,
) -> PeerSpec:
    return PeerSpec(
        about=about,
        module=module,
        model=model,
        environment=env,
        needs=needs,
        kind=kind,
        options=options,
    )


def _torch(about: str, **options: Any) -> PeerSpec:
    return _spec(about, "torch_model", "checkpoint", needs="polyhead_models", **options)


def _optimum(about: str, model: str) -> PeerSpec:
    return _spec(about, "optimum", model, env="optimum")


def _openvino(about: str, **options: Any) -> PeerSpec:
    return _spec(about, "openvino", "openvino", env="openvino", **options)


def _sentence(about: str, model: str = "encoder", **more: Any) -> PeerSpec:
    module = "sentence_transformers"
    return _spec(about, module, model, needs=module, kind="embedding.v1", **more)


PEERS: dict[str, PeerSpec] = {
    "polyhead-int8": _spec("this project's int8 bundle", "bundle", "bundle"),
    "polyhead-fp32": _spec("this project's fp32 bundle", "bundle", "fp32"),
    "separate-int8": _spec("an int8 bundle for each head, one by one", "separate", "separate"),
    "torch": _torch("the PyTorch model"),
    "torch-bf16": _torch("the PyTorch model, bf16 autocast", autocast=True),
    "torch-compile": _torch("the PyTorch model, torch.compile", compiled=True),
    "hf-pipeline": _spec(
        "transformers pipelines, one a head", "hf_pipeline", "checkpoint", needs="polyhead_models"
    ),
    "ort-textbook": _spec(
        "onnxruntime's BERT optimiser and quantize_dynamic",
        "ort_textbook",
        "textbook",
        needs="polyhead_models",
    ),
    "optimum-fp32": _optimum("Optimum's ORTModel, one a head", "optimum"),
    "optimum-int8": _optimum("Optimum's ORTModel after ORTQuantizer, one a head", "optimum-int8"),
    "openvino-int8": _openvino("OpenVINO, int8 by NNCF, latency hint"),
    "openvino-int8-padded": _openvino(
        "OpenVINO, int8 by NNCF, latency hint, padded to multiples of 32", multiple=32
    ),
    "sentence-transformers": _sentence("sentence-transformers, PyTorch"),
    "sentence-transformers-onnx": _sentence(
        "sentence-transformers, ONNX", "encoder-onnx", env="optimum", backend="onnx"
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


def check_installed(name: str) -> None:
    """See whether this environment has what a peer needs that runs in it.

    Raises:
        PeerFault: when it has not.
    """
    needs = spec(name).needs
    if find_spec(needs) is None:
        raise PeerFault(
            f"not installed: {name} needs {needs.replace('_', '-')} in this environment."
        )


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
