"""One head as a folder that Optimum's ORTModel classes load, for consumers outside polyhead.

Files: `model.onnx` (fp32; inputs input_ids, attention_mask and, for pairs, token_type_ids; output
`logits`), `config.json`, `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import tokenizers
from transformers.models.auto import modeling_auto

from polyhead.heads import HeadSpec
from polyhead.heads.tokens import tags
from polyhead.system import atomic
from polyhead_export import graphs, padding
from polyhead_export.errors import ExportError
from polyhead_export.initializer import add_constant
from polyhead_export.parity import TOLERANCE
from polyhead_export.selection import select
from polyhead_models import checkpoint as checkpoints
from polyhead_models.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

_GRAPH, _CONFIG, _TOKENIZER = "model.onnx", "config.json", "tokenizer.json"
_TOKENIZER_CONFIG, _SPECIAL = "tokenizer_config.json", "special_tokens_map.json"
_FILES = {_GRAPH, _CONFIG, _TOKENIZER, _TOKENIZER_CONFIG, _SPECIAL}
_SEQUENCE, _TOKENS = "ORTModelForSequenceClassification", "ORTModelForTokenClassification"


@dataclass(frozen=True)
class _Form:
    """How a kind of head looks to the transformers library."""

    loader: str
    problem_type: str | None
    mapping: str


_CLASSES = "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES"
_FORMS = {
    "classification.v1": _Form(_SEQUENCE, "single_label_classification", _CLASSES),
    "multilabel.v1": _Form(_SEQUENCE, "multi_label_classification", _CLASSES),
    "regression.v1": _Form(_SEQUENCE, "regression", _CLASSES),
    "tokens.v1": _Form(_TOKENS, None, "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES"),
}


@dataclass(frozen=True)
class OptimumHead:
    """What was written.

    Attributes:
        name: of the head.
        loader: the class of Optimum that loads it.
    """

    name: str
    loader: str


def write(
    source: Path,
    target: Path,
    heads: Sequence[str] = (),
    *,
    note: Callable[[str], None] = logger.info,
) -> OptimumHead:
    """Trace one head with a mask, check it against PyTorch, and write the folder.

    The graph gives the head's own logits; of a regression, the number in its own unit. What the
    transformers library has no place for, thresholds of labels and the legal sequences of tags,
    is left to the reader of the logits; thresholds stand in `config.json` under ``polyhead``.

    Args:
        source: a checkpoint.
        target: the folder; an older one with the same files is replaced at the very end.
        heads: the name of the head; may be left empty where the checkpoint has only one.
        note: called with short remarks.

    Raises:
        CheckpointError: when the checkpoint cannot be read.
        UnknownHead: when it has no such head.
        ExportError: when not exactly one head is named, its kind has no such form, something else
            is at `target`, or the graph is not the model's.
    """
    _check_target(target)
    checkpoint = select(checkpoints.load(source), heads)
    name, spec, form = _head(checkpoint)
    max_tokens = checkpoint.description.config.encoder.max_tokens
    with atomic.folder(target) as folder:
        note("tracing with a mask")
        traced = graphs.padded_graph(checkpoint.model, max_tokens=max_tokens).model
        graphs.save(traced, folder / _GRAPH)
        error = padding.check(
            checkpoint.model, folder / _GRAPH, max_tokens=max_tokens, tolerance=TOLERANCE
        )
        note(f"largest difference from PyTorch {error:.1e}")
        _finish(traced, spec)
        graphs.save(traced, folder / _GRAPH)
        (folder / _TOKENIZER).write_text(checkpoint.tokenizer.to_json(), encoding="utf-8")
        special = _special_tokens(checkpoint)
        settings = {
            **special,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": max_tokens,
            "model_input_names": [value.name for value in traced.graph.inputs],
            "clean_up_tokenization_spaces": False,
        }
        _write(folder / _CONFIG, _config(checkpoint, name, spec, form))
        _write(folder / _TOKENIZER_CONFIG, settings)
        _write(folder / _SPECIAL, special)
    return OptimumHead(name, form.loader)


def _check_target(target: Path) -> None:
    found = {path.name for path in target.iterdir()} if target.is_dir() else set()
    if (target.exists() and not target.is_dir()) or not found <= _FILES:
        raise ExportError(
            f"{target}: exists and is not such a folder; it is left as it is. Name another."
        )


def _head(checkpoint: Checkpoint) -> tuple[str, HeadSpec, _Form]:
    specs = checkpoint.model.specs
    if len(specs) != 1:
        raise ExportError(
            f"heads: found {', '.join(specs)}; the format has room for one. Name it with --heads."
        )
    ((name, spec),) = specs.items()
    if spec.kind not in _FORMS:
        raise ExportError(
            f"head {name!r}: Optimum has no form for the kind {spec.kind}; allowed:"
            f" {', '.join(_FORMS)}. Export a bundle instead."
        )
    return name, spec, _FORMS[spec.kind]


def _finish(model: ir.Model, spec: HeadSpec) -> None:
    """The output is called `logits`; of a regression it is in the unit of the targets."""
    graph = model.graph
    output = graph.outputs[0]
    if spec.scale is not None:
        offset, factor = (
            add_constant(graph, f"scale/{name}", np.array([number], np.float32))
            for name, number in zip(("offset", "factor"), spec.scale, strict=True)
        )
        scaled = ir.node("Mul", [output, factor], name="scale/Mul")
        moved = ir.node("Add", [scaled.outputs[0], offset], name="scale/Add")
        graph.extend([scaled, moved])
        result = moved.outputs[0]
        result.dtype, result.shape = ir.DataType.FLOAT, output.shape
        output.name, graph.outputs[0], output = "standardised", result, result
    output.name = "logits"


def _config(checkpoint: Checkpoint, name: str, spec: HeadSpec, form: _Form) -> dict[str, Any]:
    config: dict[str, Any] = checkpoint.model.encoder.config.to_dict()
    labels = tags(spec.labels) if form.loader == _TOKENS else spec.labels or (name,)
    known = getattr(modeling_auto, form.mapping)
    if (architecture := known.get(config["model_type"])) is not None:
        config["architectures"] = [architecture]
    extra: dict[str, Any] = {"head": name, "kind": spec.kind, "pooling": spec.pooling}
    if spec.thresholds is not None:
        extra["thresholds"] = dict(zip(spec.labels, spec.thresholds, strict=True))
    return {
        **config,
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        "problem_type": form.problem_type,
        "polyhead": extra,
    }


def _special_tokens(checkpoint: Checkpoint) -> dict[str, str]:
    """The padding token, which batches need, and those of BERT's or RoBERTa's names that exist."""
    tokenizer = tokenizers.Tokenizer.from_str(checkpoint.tokenizer.to_json())
    pad = getattr(checkpoint.model.encoder.config, "pad_token_id", None)
    found = {}
    if (padding_token := tokenizer.id_to_token(int(pad or 0))) is not None:
        found["pad_token"] = padding_token
    for role, names in {
        "unk_token": ("[UNK]", "<unk>"),
        "cls_token": ("[CLS]", "<s>"),
        "sep_token": ("[SEP]", "</s>"),
        "mask_token": ("[MASK]", "<mask>"),
    }.items():
        token = next((t for t in names if tokenizer.token_to_id(t) is not None), None)
        if token is not None:
            found[role] = token
    return found


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
