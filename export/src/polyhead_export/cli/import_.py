"""Bring a model of another library: one head, the same logits.

SOURCE with an ONNX graph (a folder of Optimum, of transformers.js or of sentence-transformers'
ONNX back end, or one of its .onnx files) becomes a bundle.

SOURCE with PyTorch weights (a folder that save_pretrained wrote, or the id of a repository on the
hub) becomes a checkpoint, which 'polyhead export' makes a bundle of. Known are
*ForSequenceClassification (one label, several labels or a number), *ForTokenClassification and
*ForQuestionAnswering of the common encoder families, encoders without a head, folders of
sentence-transformers, and, with the decoder that writes, *ForConditionalGeneration of T5, mT5,
BART, mBART and Pegasus, and MarianMTModel.

Labels, special tokens and weights are kept. Token ids are compared with those of the transformers
library on real texts, and so are the logits of PyTorch weights. What the files say is obeyed, or
the import is refused with the file and the key; where you make up for it, --ignore KEY. No code of
a repository is run, and no pickled code. A folder with both has its PyTorch weights imported; name
the .onnx file to take the graph. To put several models side by side, import each and 'polyhead
combine' them.

Example:
  polyhead import my-optimum-folder/ -o bundle/
  polyhead import my-model/onnx/model_quantized.onnx -o bundle/
  polyhead import my-finetuned-bert/ -o checkpoint/
  polyhead import sentence-transformers/all-MiniLM-L6-v2 -o embedder/ --head search
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyhead.cli import output

_PROBLEMS = {
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
        choices=list(_PROBLEMS),
        help="of a classifier: one label, several, or a number (what config.json says)",
    )
    parser.add_argument(
        "--pooling", choices=["cls", "mean", "max"], help="of an encoder without a head (mean)"
    )
    parser.add_argument(
        "--no-answer",
        type=float,
        metavar="MARGIN",
        help="of a model for questions: no answer where its logits are so far above the best"
        " span's, such as 0 (always a span)",
    )
    parser.add_argument("--max-tokens", type=int, metavar="N", help="longest input (the model's)")
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="KEY",
        help="import what a message refuses with this key; may be given again",
    )
    parser.add_argument("--json", action="store_true", help="what was made, as JSON")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead import`."""
    if arguments.max_tokens is not None and arguments.max_tokens < 3:
        arguments.usage_error("--max-tokens: expected at least 3")
    from polyhead_export.importing import graph_of, import_folder
    from polyhead_models.importing import ImportOptions, import_model

    problem: Any = _PROBLEMS.get(arguments.answer)
    options = ImportOptions(
        head=arguments.head,
        pair=arguments.pair,
        problem=problem,
        pooling=arguments.pooling,
        max_tokens=arguments.max_tokens,
        no_answer=arguments.no_answer,
        ignore=tuple(arguments.ignore),
    )
    source = Path(arguments.source)
    weights = source.is_dir() and any(
        [*source.glob("*.safetensors"), *source.glob("pytorch_model*.bin")]
    )
    if source.exists() and not weights and graph_of(source) is not None:
        bundle = import_folder(source, arguments.output, options)
        graph = {"precision": bundle.graph.precision, "layout": bundle.graph.layout}
        return _show("bundle", bundle, graph, as_json=arguments.json)
    made = import_model(arguments.source, arguments.output, options)
    more = {"largest difference": f"{made.difference:.1e}"}
    return _show("checkpoint", made, more, as_json=arguments.json)


def _show(what: str, made: Any, more: Mapping[str, str], *, as_json: bool) -> int:
    """A row about the head, or all as JSON."""
    from polyhead.system.schema import plain

    if as_json:
        output.write_json({**plain(made), "path": str(made.path)})
        return 0
    spec = made.spec
    header = ["head", "kind", "reads", "pooling", "max tokens", "labels", *more]
    row = [made.name, spec.kind, spec.input, spec.pooling, spec.max_tokens, len(spec.labels)]
    output.write(output.table(header, [[*row, *more.values()]]))
    output.progress(f"{made.compared} texts have the token ids of the transformers library")
    output.progress(f"{what}: {made.path}")
    return 0
