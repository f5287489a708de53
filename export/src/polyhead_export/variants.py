"""Further graphs of a bundle, made if asked, beside the exact one that the CPU runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
import onnx_ir as ir

from polyhead import Engine
from polyhead.bundle import Graph
from polyhead.bundle.digest import entry
from polyhead.inference.backend import Backend
from polyhead.inference.session import OnnxSession
from polyhead_export import graphs, padding
from polyhead_export.calibration import CalibrationTexts
from polyhead_export.parity import TOLERANCE
from polyhead_export.passes import HalfPrecision, PruneHeads, clean
from polyhead_export.passes.padding_mask import ATTENTION_MASK
from polyhead_export.selection import chosen
from polyhead_export.wide_values import wide_nodes
from polyhead_models.checkpoint import Checkpoint

Variant = Literal["onnx", "padded", "cuda"]
"""``"onnx"``: the int8 graph in standard ONNX, before it is lowered for onnxruntime's CPU provider;
``"padded"``: fp32 with a mask; ``"cuda"``: fp16 with a mask, for onnxruntime's CUDA provider."""

QDQ, _PADDED, _CUDA = "model.qdq.onnx", "model.padded.onnx", "model.cuda.onnx"
FP16_TOLERANCE = 2e-2
"""Of the largest absolute logit of a head, or of 1 where that is smaller."""

_WIDE_TEXTS = 64


@dataclass(frozen=True)
class Further:
    """A graph that was written beside the first.

    Attributes:
        graph: its entry in the manifest.
        facts: what was found out about it, for people.
    """

    graph: Graph
    facts: dict[str, Any]

    def engine(self, checkpoint: Checkpoint, folder: Path) -> Engine:
        """An engine over it on the CPU; rows of a padded graph are padded."""
        max_tokens = checkpoint.description.config.encoder.max_tokens
        session: Backend = OnnxSession(folder / self.graph.file)
        if self.graph.layout == "padded":
            session = padding.PaddedBackend(session, max_tokens=max_tokens, pad=_pad(checkpoint))
        specs = {name: checkpoint.model.specs[name] for name in self.graph.heads}
        return Engine(session, checkpoint.tokenizer, specs, max_tokens=max_tokens)


def write(
    checkpoint: Checkpoint,
    first: Graph,
    folder: Path,
    *,
    also: Sequence[Variant],
    also_heads: Sequence[Sequence[str]],
    sampled: CalibrationTexts,
    note: Callable[[str], None],
) -> tuple[Further, ...]:
    """Write the graphs that were asked for.

    Args:
        checkpoint: with the heads that the bundle has.
        first: the exact graph, already in `folder`; for ``"onnx"``, `QDQ` must be there, too.
        folder: of the bundle.
        also: which.
        also_heads: for each, one more graph like the first, with these heads only.
        sampled: texts that show which values fp16 cannot hold.
        note: called with short remarks.

    Raises:
        UnknownHead: on a head that the checkpoint does not have.
        TraceError, StructureError, ParityError: as for the first graph.
    """
    found = [_pruned(checkpoint, first, folder, names) for names in also_heads]
    if "onnx" in also and (folder / QDQ).is_file():
        onnx.checker.check_model(folder / QDQ, full_check=True)
        standard = _entry(folder / QDQ, "int8", "exact", "onnx", first.heads, first.inputs)
        found.append(Further(standard, {"checked": "onnx.checker"}))
    if "padded" in also or "cuda" in also:
        found += _padded(checkpoint, first, folder, also=also, sampled=sampled, note=note)
    return tuple(found)


def _pruned(checkpoint: Checkpoint, first: Graph, folder: Path, names: Sequence[str]) -> Further:
    heads = chosen(names, first.heads)
    model = ir.load(folder / first.file)
    before = _layers(model)
    PruneHeads([checkpoint.model.specs[name].output for name in heads])(model)
    path = folder / f"model.{first.precision}.{'+'.join(heads)}.onnx"
    graphs.save(model, path)
    graph = _entry(path, first.precision, first.layout, first.target, heads, first.inputs)
    return Further(graph, {"attention_nodes": f"{_layers(model)} of {before}"})


def _padded(
    checkpoint: Checkpoint,
    first: Graph,
    folder: Path,
    *,
    also: Sequence[Variant],
    sampled: CalibrationTexts,
    note: Callable[[str], None],
) -> list[Further]:
    model, max_tokens = checkpoint.model, checkpoint.description.config.encoder.max_tokens
    note("tracing with a mask")
    traced = graphs.padded_graph(model, max_tokens=max_tokens).model
    inputs = (*first.inputs, ATTENTION_MASK)
    path = folder / _PADDED
    graphs.save(traced, path)
    error = padding.check(model, path, max_tokens=max_tokens, tolerance=TOLERANCE)
    note(f"padded graph: largest difference from PyTorch {error:.1e}")
    found = []
    if "padded" in also:
        fp32 = _entry(path, "fp32", "padded", "onnx", first.heads, inputs)
        found.append(Further(fp32, {"largest_difference": error}))
    if "cuda" in also:
        wide = wide_nodes(traced, _feeds(checkpoint, sampled, first.inputs, max_tokens))
        ir.passes.Sequential(HalfPrecision(wide), clean())(traced)
        half = folder / _CUDA
        graphs.save(traced, half)
        error = padding.check(model, half, max_tokens=max_tokens, tolerance=FP16_TOLERANCE)
        note(f"fp16 graph: largest difference {error:.1e} on the CPU; not measured on a GPU")
        facts = {
            "largest_difference": error,
            "allowed_difference": FP16_TOLERANCE,
            "checked_on": "CPUExecutionProvider",
            "measured_on_gpu": False,
            "fp32_nodes_for_wide_values": sorted(wide),
        }
        found.append(
            Further(_entry(half, "fp16", "padded", "ort-cuda", first.heads, inputs), facts)
        )
    if "padded" not in also:
        path.unlink()
    return found


def _feeds(
    checkpoint: Checkpoint, sampled: CalibrationTexts, inputs: Sequence[str], max_tokens: int
) -> list[dict[str, Any]]:
    """Some of the texts, each in its first window and alone."""
    encodings = checkpoint.tokenizer.encode(sampled.texts[:_WIDE_TEXTS])
    feeds = [e.feeds(inputs) for e in encodings if len(e) <= max_tokens]
    return [{**f, ATTENTION_MASK: f["input_ids"] * 0 + 1} for f in feeds]


def _entry(
    path: Path,
    precision: Literal["fp32", "fp16", "int8"],
    layout: Literal["exact", "padded"],
    target: Literal["onnx", "ort-cpu", "ort-cuda"],
    heads: Sequence[str],
    inputs: Sequence[str],
) -> Graph:
    file = entry(path)
    return Graph(
        file=file.file,
        sha256=file.sha256,
        size=file.size,
        precision=precision,
        layout=layout,
        target=target,
        heads=tuple(heads),
        inputs=tuple(inputs),
    )


def _layers(model: ir.Model) -> int:
    return sum(node.op_type == "Attention" for node in model.graph)


def _pad(checkpoint: Checkpoint) -> int:
    return int(getattr(checkpoint.model.encoder.config, "pad_token_id", None) or 0)
