"""Everything that can be measured, by name: one small module each, run in a process of its own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
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
        model: what its folder holds, see `polyhead_bench.convert.Models.folder`.
        options: that go to `load`, over those of the run.
        environment: name of the virtual environment that it needs; None runs in this one.
        needs: module that has to be there where it runs in this environment.
        kind: the only kind of head that it answers; None for several.
        when_named: whether it takes part only where a run names it.
    """

    about: str
    module: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: str | None = None
    needs: str = "polyhead"
    kind: str | None = None
    when_named: bool = False

    @property
    def usual(self) -> bool:
        """Whether it takes part where a run names no peers."""
        return not (self.environment or self.kind or self.when_named)


def _ours(about: str, model: str = "bundle", **options: Any) -> PeerSpec:
    return PeerSpec(about=about, module="bundle", model=model, options=options)


def _named(about: str, module: str, model: str, **options: Any) -> PeerSpec:
    return PeerSpec(about=about, module=module, model=model, options=options, when_named=True)


def _torch(about: str, **options: Any) -> PeerSpec:
    module, needs = "torch_model", "polyhead_models"
    return PeerSpec(about=about, module=module, model="checkpoint", needs=needs, options=options)


def _optimum(about: str, model: str) -> PeerSpec:
    return PeerSpec(about=about, module="optimum", model=model, environment="optimum")


def _openvino(about: str, model: str = "openvino", **options: Any) -> PeerSpec:
    module = environment = "openvino"
    return PeerSpec(
        about=about, module=module, model=model, environment=environment, options=options
    )


PEERS: dict[str, PeerSpec] = {
    "polyhead-int8": _ours("this project's int8 bundle"),
    "polyhead-int8-all-threads": _named(
        "the same, all threads for a single text of any length",
        "bundle",
        "bundle",
        intra_op_min_tokens=1,
    ),
    "polyhead-int8-padded": _named(
        "the int8 bundle's graph with an attention mask, in padded batches", "masked", "masked"
    ),
    "polyhead-student": _named("the bundle given as --student", "bundle", "student"),
    "polyhead-cuda": _named(
        "this project's graph for CUDA", "bundle", "cuda", provider="cuda", batch_tokens=4096
    ),
    "polyhead-fp32": _ours("this project's fp32 bundle", "fp32"),
    "separate-int8": PeerSpec(
        about="an int8 bundle for each head, one by one", module="separate", model="separate"
    ),
    "two-encoders": _named(
        "two bundles over different encoders, combined", "bundle", "two-encoders", heads=None
    ),
    "two-encoders-in-turn": _named(
        "the same two bundles, one after the other", "separate", "two-bundles", heads=None
    ),
    "torch": _torch("the PyTorch model"),
    "torch-bf16": _torch("the PyTorch model, bf16 autocast", autocast=True),
    "torch-compile": _torch("the PyTorch model, torch.compile", compiled=True),
    "hf-pipeline": PeerSpec(
        about="transformers pipelines, one a head",
        module="hf_pipeline",
        model="checkpoint",
        needs="polyhead_models",
    ),
    "ort-textbook": PeerSpec(
        about="onnxruntime's BERT optimiser and quantize_dynamic",
        module="ort_textbook",
        model="textbook",
        needs="polyhead_models",
    ),
    "optimum-fp32": _optimum("Optimum's ORTModel, one a head", "optimum"),
    "optimum-int8": _optimum("Optimum's ORTModel after ORTQuantizer, one a head", "optimum-int8"),
    "openvino-int8": _openvino("OpenVINO, int8 by NNCF, latency hint"),
    "openvino-int8-f32": _openvino(
        "OpenVINO, int8 by NNCF, f32 in place of bf16 where it is not int8", precision="f32"
    ),
    "openvino-int8-padded": _openvino(
        "OpenVINO, int8 by NNCF, latency hint, padded to multiples of 32", multiple=32
    ),
    "openvino-qdq": _openvino(
        "OpenVINO over this project's int8 graph in standard ONNX", "qdq", precision="f32"
    ),
    "sentence-transformers": PeerSpec(
        about="sentence-transformers, PyTorch",
        module="sentence_transformers",
        model="encoder",
        needs="sentence_transformers",
        kind="embedding.v1",
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
        PeerFault: when that is missing.
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
