"""Further graphs of a bundle, made if asked, next to the exact one that the CPU runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from polyhead.bundle import Graph
from polyhead.bundle.digest import entry
from polyhead_export import graphs, parity
from polyhead_export.passes.clean import clean
from polyhead_export.passes.half_precision import HalfPrecision, nodes_beyond_fp16
from polyhead_export.passes.padding_mask import ATTENTION_MASK
from polyhead_export.passes.prune_heads import PruneHeads
from polyhead_export.plans import FLOAT
from polyhead_export.selection import chosen
from polyhead_export.settings import Variant
from polyhead_export.texts import CalibrationTexts
from polyhead_models.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

QDQ, _PADDED, _CUDA = "model.qdq.onnx", "model.padded.onnx", "model.cuda.onnx"
FP16_TOLERANCE = 2e-2
"""Of the largest absolute logit of a head, or of 1 where that is smaller."""

_RANGE_TEXTS = 64


@dataclass(frozen=True)
class WrittenGraph:
    """A graph in the folder of the bundle.

    Attributes:
        graph: its entry in the manifest.
        facts: what was found out about it, for people.
    """

    graph: Graph
    facts: dict[str, Any]


def write_variants(
    checkpoint: Checkpoint,
    first: Graph,
    folder: Path,
    *,
    also: Sequence[Variant],
    also_heads: Sequence[Sequence[str]],
    sampled: CalibrationTexts,
) -> tuple[WrittenGraph, ...]:
    """Write the graphs that were asked for.

    Args:
        checkpoint: with the heads that the bundle has.
        first: the exact graph, already in `folder`; for ``"onnx"`` and ``"fp32"``, `QDQ` and the
            float graph must be there, too, unless the first one is that itself, which is said.
        folder: of the bundle.
        also: which.
        also_heads: for each, one more graph like the first, with these heads only.
        sampled: texts that show which values fp16 cannot hold.

    Raises:
        UnknownHead: on a head that the checkpoint does not have.
        TraceError, StructureError, ParityError: as for the first graph.
    """
    found = [_pruned(checkpoint, first, folder, names) for names in also_heads]
    if "onnx" in also and first.target == "onnx":
        logger.warning("--also onnx adds nothing: %s is standard ONNX itself", first.file)
    elif "onnx" in also:
        onnx.checker.check_model(folder / QDQ, full_check=True)
        standard = _entry(first, folder / QDQ, target="onnx")
        found.append(WrittenGraph(standard, {"checked": "onnx.checker"}))
    if "fp32" in also and first.precision == "fp32":
        logger.warning("--also fp32 adds nothing: %s is fp32 itself", first.file)
    elif "fp32" in also:
        path = folder / FLOAT.file
        found.append(WrittenGraph(_entry(first, path, precision="fp32", target="onnx"), {}))
    if "padded" in also or "cuda" in also:
        found += _padded(checkpoint, first, folder, also=also, sampled=sampled)
    return tuple(found)


def _pruned(
    checkpoint: Checkpoint, first: Graph, folder: Path, names: Sequence[str]
) -> WrittenGraph:
    heads = chosen(names, first.heads)
    model = ir.load(folder / first.file)
    before = _layers(model)
    PruneHeads([checkpoint.model.specs[name].output for name in heads])(model)
    path = folder / f"model.{first.precision}.{'+'.join(heads)}.onnx"
    graphs.save(model, path)
    graph = _entry(first, path, heads=heads)
    return WrittenGraph(graph, {"attention_nodes": f"{_layers(model)} of {before}"})


def _padded(
    checkpoint: Checkpoint,
    first: Graph,
    folder: Path,
    *,
    also: Sequence[Variant],
    sampled: CalibrationTexts,
) -> list[WrittenGraph]:
    model, max_tokens = checkpoint.model, checkpoint.description.config.encoder.max_tokens
    logger.info("tracing with a mask")
    traced = graphs.float_graph(model, max_tokens=max_tokens, padded=True)
    path = folder / _PADDED
    graphs.save(traced, path)
    error = parity.check(model, path, max_tokens=max_tokens, padded=True)
    logger.info("padded graph: largest difference from PyTorch %.1e", error)
    found = []
    if "padded" in also:
        graph = _padded_entry(first, path, precision="fp32", target="onnx")
        found.append(WrittenGraph(graph, {"largest_difference": error}))
    else:
        path.unlink()
    if "cuda" in also:
        found.append(_half(checkpoint, first, folder, traced, sampled))
    return found


def _half(
    checkpoint: Checkpoint, first: Graph, folder: Path, padded: ir.Model, sampled: CalibrationTexts
) -> WrittenGraph:
    """The graph for CUDA; `padded` is changed into it."""
    max_tokens = checkpoint.description.config.encoder.max_tokens
    kept = nodes_beyond_fp16(padded, _feeds(checkpoint, sampled, first.inputs, max_tokens))
    ir.passes.Sequential(HalfPrecision(kept), clean())(padded)
    path = folder / _CUDA
    graphs.save(padded, path)
    error = parity.check(
        checkpoint.model, path, max_tokens=max_tokens, tolerance=FP16_TOLERANCE, padded=True
    )
    logger.info("fp16 graph: largest difference %.1e on the CPU; not measured on a GPU", error)
    graph = _padded_entry(first, path, precision="fp16", target="ort-cuda")
    facts = {
        "largest_difference": error,
        "allowed_difference": FP16_TOLERANCE,
        "checked_on": "CPUExecutionProvider",
        "measured_on_gpu": False,
        "fp32_nodes_for_wide_values": sorted(kept),
    }
    return WrittenGraph(graph, facts)


def _feeds(
    checkpoint: Checkpoint, sampled: CalibrationTexts, inputs: Sequence[str], max_tokens: int
) -> list[dict[str, Any]]:
    """Some of the texts, each in its first window and alone."""
    encodings = checkpoint.tokenizer.encode(sampled.texts[:_RANGE_TEXTS])
    feeds = [e.feeds(inputs) for e in encodings if len(e) <= max_tokens]
    return [{**f, ATTENTION_MASK: f["input_ids"] * 0 + 1} for f in feeds]


def _entry(first: Graph, path: Path, **changes: Any) -> Graph:
    """The manifest's entry of a graph that is as the first, but for `changes`."""
    return replace(first, **vars(entry(path)), **changes)


def _padded_entry(first: Graph, path: Path, **changes: Any) -> Graph:
    inputs = (*first.inputs, ATTENTION_MASK)
    return _entry(first, path, layout="padded", inputs=inputs, **changes)


def _layers(model: ir.Model) -> int:
    return sum(node.op_type == "Attention" for node in model.graph)
