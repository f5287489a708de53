"""The int8 graphs that people use today, of the same weights: what ours is measured against."""

from __future__ import annotations

import subprocess
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
_SCRIPTS = Path(__file__).parent.parent / "foreign"


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


def optimum(source: Path, path: Path, python: Path, configuration: str) -> Path:
    """Optimum's dynamic int8 of the unfused graph, made in its environment.

    Args:
        source: the unfused graph.
        path: of the int8 graph.
        python: of the environment.
        configuration: a method of Optimum's `AutoQuantizationConfig`.

    Raises:
        PeerFault: when that fails; says what it printed last.
    """
    script = _SCRIPTS / "optimum_quantise.py"
    _run([str(python), str(script), str(source), str(path), configuration])
    return path


def openvino(source: Path, path: Path, python: Path, ids: Path) -> Path:
    """OpenVINO's graph, quantised by NNCF with its mixed preset, made in its environment.

    Args:
        source: the unfused graph.
        path: of the `.xml`.
        python: of the environment.
        ids: an `.npz` with a row of token ids a calibration text.

    Raises:
        PeerFault: when that fails; says what it printed last.
    """
    script = _SCRIPTS / "openvino_quantise.py"
    _run([str(python), str(script), str(source), str(path), str(ids)])
    return path


def sentence_transformers(encoder: Path, python: Path) -> None:
    """sentence-transformers' own graph of an encoder, beside its weights, made in Optimum's place.

    Args:
        encoder: a folder that the transformers library loads.
        python: of Optimum's environment.

    Raises:
        PeerFault: when that fails; says what it printed last.
    """
    _run([str(python), str(_SCRIPTS / "sentence_transformers_export.py"), str(encoder)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise PeerFault(f"{Path(command[1]).name} failed: {said[0]}")
