"""One head as a folder that Optimum's ORTModel classes load, for consumers outside polyhead.

Files: `model.onnx` (fp32; inputs input_ids, attention_mask and, for pairs, token_type_ids; output
`logits`), `config.json`, `tokenizer.json`, `tokenizer_config.json`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from transformers.models.auto import modeling_auto

from polyhead.heads import HeadSpec
from polyhead.heads.tokens import tags
from polyhead.system import atomic
from polyhead_export import graphs, parity
from polyhead_export.errors import ExportError
from polyhead_export.selection import select
from polyhead_export.subgraph import add_constant
from polyhead_models import checkpoint as checkpoints
from polyhead_models.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

_GRAPH, _CONFIG = "model.onnx", "config.json"
_TOKENIZER, _SETTINGS = "tokenizer.json", "tokenizer_config.json"
_REPLACED = {_GRAPH, _CONFIG, _TOKENIZER, _SETTINGS, "special_tokens_map.json"}
# By kind of head, the task of transformers and its problem type.
_TASKS = {
    "classification.v1": ("Sequence", "single_label_classification"),
    "multilabel.v1": ("Sequence", "multi_label_classification"),
    "regression.v1": ("Sequence", "regression"),
    "tokens.v1": ("Token", None),
}


def write(source: Path, target: Path, heads: Sequence[str] = ()) -> str:
    """Trace one head with a mask, check it against PyTorch, and write the folder.

    The graph gives the head's own logits; of a regression, the number in its own unit. What the
    transformers library has no place for, thresholds of labels and the legal sequences of tags,
    is left to the reader of the logits; `config.json` has thresholds under ``polyhead``.

    Args:
        source: a checkpoint.
        target: the folder; an older one with the same files is replaced at the very end.
        heads: the name of the head; may be left empty where the checkpoint has only one.

    Returns:
        The name of Optimum's class that loads it.

    Raises:
        CheckpointError: when the checkpoint cannot be read.
        UnknownHead: when it has no such head.
        ExportError: when not exactly one head is named, its kind has no such form, something else
            is at `target`, or the graph is not the model's.
    """
    found = {path.name for path in target.iterdir()} if target.is_dir() else set()
    if (target.exists() and not target.is_dir()) or not found <= _REPLACED:
        raise ExportError(
            f"{target}: exists and is not such a folder; it is left as it is. Name another."
        )
    checkpoint = select(checkpoints.load(source), heads)
    name, spec = _only_head(checkpoint)
    settings = checkpoint.model.encoder.config
    with atomic.folder(target) as folder:
        inputs = _write_graph(checkpoint, folder / _GRAPH, spec)
        tokens = {number: token for token, number in checkpoint.tokenizer.vocabulary.items()}
        pad = int(getattr(settings, "pad_token_id", None) or 0)
        files = {
            _TOKENIZER: json.loads(checkpoint.tokenizer.to_json()),
            _CONFIG: _config(settings.to_dict(), name, spec),
            _SETTINGS: {
                # Which batches need; tokenizer.json has the others by itself.
                "pad_token": tokens.get(pad),
                "split_special_tokens": checkpoint.tokenizer.special_tokens == "text",
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_max_length": checkpoint.description.config.encoder.max_tokens,
                "model_input_names": inputs,
                "clean_up_tokenization_spaces": False,
            },
        }
        for file, data in files.items():
            text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
            (folder / file).write_text(text, encoding="utf-8")
    return f"ORTModelFor{_TASKS[spec.kind][0]}Classification"


def _only_head(checkpoint: Checkpoint) -> tuple[str, HeadSpec]:
    specs = checkpoint.model.specs
    if len(specs) != 1:
        raise ExportError(
            f"heads: found {', '.join(specs)}; the format has room for one. Name it with --heads."
        )
    ((name, spec),) = specs.items()
    if spec.kind not in _TASKS:
        raise ExportError(
            f"head {name!r}: Optimum has no form for the kind {spec.kind}; allowed:"
            f" {', '.join(_TASKS)}. Export a bundle instead."
        )
    return name, spec


def _write_graph(checkpoint: Checkpoint, path: Path, spec: HeadSpec) -> list[str]:
    """Write the graph, whose output is called `logits`; returns the names of its inputs."""
    max_tokens = checkpoint.description.config.encoder.max_tokens
    logger.info("tracing with a mask")
    traced = graphs.float_graph(checkpoint.model, max_tokens=max_tokens, padded=True)
    graphs.save(traced, path)
    error = parity.check(checkpoint.model, path, max_tokens=max_tokens, padded=True)
    logger.info("largest difference from PyTorch %.1e", error)
    if spec.scale is not None:
        _rescale(traced.graph, *spec.scale)
    traced.graph.outputs[0].name = "logits"
    graphs.save(traced, path)
    return [str(value.name) for value in traced.graph.inputs]


def _rescale(graph: ir.Graph, offset: float, factor: float) -> None:
    """The output of a regression in the unit of its targets: offset + factor * logit."""
    output = graph.outputs[0]
    shape, output.name = output.shape, "standardised"
    for operator, number in (("Mul", factor), ("Add", offset)):
        by = add_constant(graph, f"scale/{operator}/by", np.array([number], np.float32))
        node = ir.node(operator, [output, by], name=f"scale/{operator}")
        graph.append(node)
        output = node.outputs[0]
    output.dtype, output.shape, graph.outputs[0] = ir.DataType.FLOAT, shape, output


def _config(config: dict[str, Any], name: str, spec: HeadSpec) -> dict[str, Any]:
    task, problem_type = _TASKS[spec.kind]
    known = getattr(modeling_auto, f"MODEL_FOR_{task.upper()}_CLASSIFICATION_MAPPING_NAMES")
    if (architecture := known.get(config["model_type"])) is not None:
        config["architectures"] = [architecture]
    labels = tags(spec.labels) if task == "Token" else spec.labels or (name,)
    extra: dict[str, Any] = {"head": name, "kind": spec.kind, "pooling": spec.pooling}
    if spec.thresholds is not None:
        extra["thresholds"] = dict(zip(spec.labels, spec.thresholds, strict=True))
    return {
        **config,
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        "problem_type": problem_type,
        "polyhead": extra,
    }
