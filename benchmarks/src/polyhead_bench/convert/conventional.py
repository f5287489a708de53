"""The int8 graphs that people use today, of the same weights: what ours is measured against."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer
from torch import Tensor, nn

from polyhead_bench.errors import PeerFault

_OPSET = 17


class _Masked(nn.Module):
    """Encoder and heads, in the signature of transformers' exports."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        return tuple(self.model(input_ids, attention_mask).values())


def unfused(model: Any, path: Path, *, outputs: Sequence[str] | None = None) -> Path:
    """Export encoder and heads as one usually does: opset 17, eager attention, a mask, no passes.

    Args:
        model: a `polyhead_models.model.MultiHeadModel` over a BERT; set to eager attention.
        path: of the graph.
        outputs: their names in the order of the heads; None takes the heads' own.
    """
    model.encoder.set_attn_implementation("eager")
    ids = torch.arange(14).reshape(2, 7) + 5
    names = ["input_ids", "attention_mask"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Masked(model).eval(),
            (ids, torch.ones_like(ids)),
            str(path),
            dynamo=False,
            opset_version=_OPSET,
            input_names=names,
            output_names=list(outputs or (spec.output for spec in model.specs.values())),
            dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names},
        )
    return path


def textbook(source: Path, path: Path, *, layers: int, heads: int, hidden: int) -> Path:
    """Onnxruntime's own recipe: its BERT optimiser, then `quantize_dynamic` with its defaults.

    Raises:
        PeerFault: when the optimiser did not fuse every layer's attention: the comparison would
            be with something that nobody recommends.
    """
    options = optimizer.FusionOptions("bert")
    options.enable_embed_layer_norm = False  # cannot be quantised well, as its documentation says
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fused = optimizer.optimize_model(
            str(source),
            model_type="bert",
            num_heads=heads,
            hidden_size=hidden,
            opt_level=0,
            optimization_options=options,
        )
        found = fused.get_fused_operator_statistics()
        if found.get("Attention", 0) != layers:
            raise PeerFault(f"ort-textbook: the optimiser fused {found}, not {layers} layers.")
        fused.save_model_to_file(str(path))
        # Shapes of fused operators are not inferred, which the quantiser would take for an error.
        quantize_dynamic(
            str(path),
            str(path),
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    return path
