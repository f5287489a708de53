"""The graphs that a bundle is served against: its own weights in the padded layout, Optimum's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from polyhead.bundle import Bundle, read
from polyhead.system import cpu
from polyhead_bench import environments
from polyhead_bench.errors import BenchError, PeerFault
from polyhead_bench.graphs import rivals
from polyhead_bench.graphs.answers import Reference
from polyhead_bench.graphs.session import Options, feeds, opened

PADDED, OPTIMUM = "padded", "optimum-int8"
OPTIONS: Mapping[str, Options] = {PADDED: "runtime", OPTIMUM: "plain"}
"""How each is run."""
_EIGHT_BITS = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


def made(
    bundle: Path, checkpoint: Path, folder: Path, cache: Path, note: Callable[[str], None]
) -> tuple[dict[str, Path], dict[str, str]]:
    """Write the graphs; each gives the model's answers, within the tolerance of all rivals.

    Args:
        bundle: with a graph in the exact layout.
        checkpoint: behind the bundle.
        folder: where the graphs are written.
        cache: folder with Optimum's environment.
        note: told what is made.

    Returns:
        The files, and why others could not be made; by name.
    """
    from polyhead_bench.graphs import conventional, peers
    from polyhead_export.selection import select
    from polyhead_models import checkpoint as checkpoints

    read_ = read(bundle)
    trained = select(checkpoints.load(checkpoint), _exact(read_).heads)
    reference = peers.reference(trained.model, bundle)

    def optimum() -> Path:
        python = environments.python(cache, "optimum")
        source = conventional.unfused(trained.model, folder / "unfused.onnx")
        configuration = rivals.optimum_configuration(cpu.describe().flags)
        return conventional.optimum(source, folder / "optimum.onnx", python, configuration)

    files: dict[str, Path] = {}
    faults: dict[str, str] = {}
    # In this order: the conventional export changes how the model computes attention.
    makers = {PADDED: lambda: padded(trained, read_, folder / "padded.onnx"), OPTIMUM: optimum}
    for name, make in makers.items():
        note(f"making the graph {name}")
        try:
            path = make()
            _check(path, OPTIONS[name], reference)
            files[name] = path
        except BenchError as fault:
            faults[name] = str(fault)
    return files, faults


def padded(checkpoint: Any, bundle: Bundle, path: Path) -> Path:
    """The bundle's graph in the padded layout: same weights, same ranges, same plan of the gate.

    Calibration is done again, on the texts of the export.

    Args:
        checkpoint: a `polyhead_models.checkpoint.Checkpoint` with the heads of the bundle.
        bundle: of the graph.
        path: of the new one.

    Raises:
        PeerFault: when the quantised weights are not those of the bundle.
    """
    from polyhead_export import graphs
    from polyhead_export.passes import FoldAttentionScale

    most = checkpoint.description.config.encoder.max_tokens
    model = graphs.padded_graph(checkpoint.model, max_tokens=most).model
    FoldAttentionScale()(model)  # as in the exact layout, whose weights have it
    if _exact(bundle).precision == "int8":
        model = graphs.lowered(_quantised(checkpoint, bundle, model))
    graphs.save(model, path)
    own, other = (_quantised_weights(file) for file in (bundle.file(_exact(bundle)), path))
    if own != other:
        raise PeerFault(
            f"{len(own ^ other)} quantised weights of the padded graph and of the bundle's differ;"
            " expected none. Export the bundle again, with this version and this checkpoint."
        )
    return path


def _quantised(checkpoint: Any, bundle: Bundle, model: Any) -> Any:
    from polyhead_export import calibration, graphs, quantisation, texts
    from polyhead_models.evaluation import inputs

    manifest = bundle.manifest
    used = manifest.provenance["calibration"]
    most = checkpoint.description.config.encoder.max_tokens
    train = inputs(texts.load(checkpoint, None).train)
    sampled = calibration.sample(train, count=used["texts"], seed=used["seed"])
    if sampled.digest != used["sha256"]:
        raise PeerFault("the bundle was calibrated on other texts than its checkpoint remembers.")
    exact = graphs.float_graph(checkpoint.model, max_tokens=most).model
    found = quantisation.calibrate(exact, checkpoint.tokenizer, sampled, max_tokens=most)
    gate = manifest.gate
    plan = quantisation.Plan(
        per_row=frozenset(gate.per_row if gate else ()), fp32=frozenset(gate.fp32 if gate else ())
    )
    return quantisation.quantised(replace(found, model=model), plan)


def _exact(bundle: Bundle) -> Any:
    return next(graph for graph in bundle.manifest.graphs if graph.layout == "exact")


def _quantised_weights(path: Path) -> set[tuple[Any, ...]]:
    """Shape, type and digest of each matrix of 8-bit integers."""
    found = set()
    for tensor in onnx.load(path).graph.initializer:
        if len(tensor.dims) == 2 and tensor.data_type in _EIGHT_BITS:
            digest = hashlib.sha256(numpy_helper.to_array(tensor).tobytes()).hexdigest()
            found.add((*tensor.dims, tensor.data_type, digest))
    return found


def _check(path: Path, options: Options, reference: Reference) -> None:
    session = opened(path, options)
    rows = [np.array([row], np.int64) for row in reference.rows]
    reference.errors([session.all(feeds(row, session.inputs)) for row in rows])
