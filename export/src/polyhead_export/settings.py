"""How to export."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from polyhead_export.gate import Limits

Precision = Literal["auto", "fp32", "int8"]
Variant = Literal["fp32", "onnx", "padded", "cuda"]
"""``"fp32"``: the graph in float, for CPUs on which int8 is slower; ``"onnx"``: the int8 graph in
standard ONNX, before it is lowered for onnxruntime's CPU provider; ``"padded"``: fp32 with a mask;
``"cuda"``: fp16 with a mask, for onnxruntime's CUDA provider."""


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """How to export.

    Attributes:
        precision: of the encoder's linears; ``"auto"``: int8, or fp32 where a head fails in it.
        calibration_texts: how many training texts the int8 ranges are measured on.
        seed: of the sample of texts.
        limits: what the graph may lose against the PyTorch model.
        heads: names of the heads to export; empty for all. The graph ends at the deepest layer
            that one of them reads.
        target: what an int8 graph is lowered to; ``"onnx"`` keeps it in standard ONNX. A float
            graph is standard ONNX in any case.
        also: further graphs; ``"onnx"`` adds nothing where the first graph is standard ONNX, nor
            ``"fp32"`` where that is fp32.
        also_heads: for each, one more graph with these heads only.
        trust_remote_code: run the Python code of an encoder outside transformers.
        calibrated_as: a deployed int8 bundle of the same encoder, whose heads shall keep their
            logits to the bit: its ranges, smoothing and plan are taken. None to calibrate anew.
    """

    precision: Precision = "auto"
    calibration_texts: int = 256
    seed: int = 0
    limits: Limits = field(default=Limits())
    heads: tuple[str, ...] = ()
    target: Literal["ort-cpu", "onnx"] = "ort-cpu"
    also: tuple[Variant, ...] = ()
    also_heads: tuple[tuple[str, ...], ...] = ()
    trust_remote_code: bool = False
    calibrated_as: Path | None = None
