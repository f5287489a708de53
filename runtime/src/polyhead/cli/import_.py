"""Bring a model of another library: one head, the same logits.

SOURCE with an ONNX graph (a folder of Optimum, of transformers.js or of sentence-transformers'
ONNX back end, or one of its .onnx files) becomes a bundle, and nothing else needs to be installed.

SOURCE with PyTorch weights (a folder that save_pretrained wrote, or the id of a repository on the
hub) becomes a checkpoint; this needs polyhead-models. Known are *ForSequenceClassification (one
label, several labels or a number), *ForTokenClassification and *ForQuestionAnswering of the common
encoder families, encoders without a head, and folders of sentence-transformers. Labels, special
tokens and weights are kept. No code of a repository is run, and no pickled code.

Example:
  polyhead import my-optimum-folder/ -o bundle/
  polyhead import my-model/onnx/model_quantized.onnx -o bundle/
  polyhead import my-finetuned-bert/ -o checkpoint/
  polyhead import sentence-transformers/all-MiniLM-L6-v2 -o embedder/ --head search
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from polyhead.cli import delegated, output

PROBLEMS = {
    "label": "single_label_classification",
    "labels": "multi_label_classification",
    "number": "regression",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead import`."""
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CHECKPOINT_OR_BUNDLE")
    parser.add_argument("--head", metavar="NAME", help="of the head (its kind)")
    parser.add_argument("--pair", action="store_true", help="a classifier that reads two texts")
    parser.add_argument(
        "--answer",
        choices=list(PROBLEMS),
        help="of a classifier: one label, several, or a number (what config.json says)",
    )
    parser.add_argument(
        "--pooling", choices=["cls", "mean", "max"], help="of an encoder without a head (mean)"
    )
    parser.add_argument("--max-tokens", type=int, metavar="N", help="longest input (the model's)")
    parser.add_argument("--json", action="store_true", help="what was made, as JSON")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead import`."""
    if arguments.max_tokens is not None and arguments.max_tokens < 3:
        arguments.usage_error("--max-tokens: expected at least 3")
    from polyhead.importing.folder import graph_of

    source = Path(arguments.source)
    weights = source.is_dir() and any(
        [*source.glob("*.safetensors"), *source.glob("pytorch_model*.bin")]
    )
    graph = graph_of(source) if source.exists() and not weights else None
    if graph is not None:
        return _import_onnx(source, arguments)
    what = f"{source}: {'PyTorch weights' if weights else 'no ONNX graph here'}"
    try:
        command = delegated.command("import", what)
    except delegated.NeedsModels:
        if not weights or graph_of(source) is None:
            raise
        output.progress(f"{source}: its ONNX graph is taken, since polyhead-models is not here")
        return _import_onnx(source, arguments)
    return command.execute(arguments)


def _import_onnx(source: Path, arguments: argparse.Namespace) -> int:
    from polyhead.importing import Wishes, import_folder
    from polyhead.strict import plain

    problem: Any = PROBLEMS.get(arguments.answer)
    made = import_folder(
        source,
        arguments.output,
        Wishes(
            head=arguments.head,
            pair=arguments.pair,
            problem=problem,
            pooling=arguments.pooling,
            max_tokens=arguments.max_tokens,
        ),
        note=output.progress,
    )
    if arguments.json:
        output.write_json({**plain(made), "path": str(made.path)})
        return 0
    spec, graph = made.spec, made.graph
    header = ["head", "kind", "reads", "pooling", "max tokens", "labels", "precision", "layout"]
    row = [made.name, spec.kind, spec.input, spec.pooling, spec.max_tokens, len(spec.labels)]
    output.write(output.table(header, [[*row, graph.precision, graph.layout]]))
    output.progress(f"bundle: {made.path}")
    return 0
