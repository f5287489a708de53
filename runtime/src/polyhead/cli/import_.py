"""Bring a model of another library: one head, the same logits.

SOURCE with an ONNX graph (a folder of Optimum, of transformers.js or of sentence-transformers'
ONNX back end, or one of its .onnx files) becomes a bundle, and nothing else needs to be installed.

SOURCE with PyTorch weights (a folder that save_pretrained wrote, or the id of a repository on the
hub) becomes a checkpoint; this needs polyhead-models. Known are *ForSequenceClassification (one
label, several labels or a number), *ForTokenClassification and *ForQuestionAnswering of the common
encoder families, encoders without a head, and folders of sentence-transformers. Labels, special
tokens and weights are kept. No code of a repository is run, and no pickled code.

Several SOURCEs become one. Those with PyTorch weights stand over one encoder where every weight of
it is the same, whatever it is called; another encoder gets a graph of its own, and what is not
shared is told. Graphs of checkpoints are made as 'polyhead export' makes them, with --texts,
--field and --precision; checkpoints of one encoder without --texts become one checkpoint. The
report says what is shared, and what it costs in bytes and in milliseconds.

Example:
  polyhead import my-optimum-folder/ -o bundle/
  polyhead import my-model/onnx/model_quantized.onnx -o bundle/
  polyhead import my-finetuned-bert/ -o checkpoint/
  polyhead import sentence-transformers/all-MiniLM-L6-v2 -o embedder/ --head search
  polyhead import topics/ names/ optimum/ -o all/ --texts texts.txt --head a --head b --head c
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from polyhead.cli import delegated, output

if TYPE_CHECKING:
    from polyhead.importing import Wishes

PROBLEMS = {
    "label": "single_label_classification",
    "labels": "multi_label_classification",
    "number": "regression",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead import`."""
    parser.add_argument("source", nargs="+", metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CHECKPOINT_OR_BUNDLE")
    parser.add_argument(
        "--head",
        action="append",
        metavar="NAME",
        help="of the head (its kind); once for each SOURCE in their order",
    )
    parser.add_argument(
        "--prefix",
        action="append",
        metavar="PREFIX",
        help="of several: put before the names of heads, once for each SOURCE in their order",
    )
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
    parser.add_argument(
        "--texts", type=Path, metavar="FILE", help="of several: make graphs, with these texts"
    )
    parser.add_argument(
        "--field", default="text", metavar="KEY", help="of --texts: key of the text; two for a pair"
    )
    parser.add_argument(
        "--precision", choices=["fp32", "int8"], default="int8", help="of these graphs (int8)"
    )
    parser.add_argument("--json", action="store_true", help="what was made, as JSON")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead import`."""
    if arguments.max_tokens is not None and arguments.max_tokens < 3:
        arguments.usage_error("--max-tokens: expected at least 3")
    _check_counts(arguments)
    if len(arguments.source) > 1:
        from polyhead.cli import import_several

        return import_several.execute(arguments)
    (arguments.source,) = arguments.source
    (arguments.head,) = arguments.head or [None]
    source = Path(arguments.source)
    command = checkpoints_for(source)
    return _import_onnx(source, arguments) if command is None else command.execute(arguments)


def checkpoints_for(source: Path) -> delegated.Checkpoints | None:
    """What makes a checkpoint of `source`; None where its ONNX graph is to be taken.

    Raises:
        NeedsModels: when there is no graph, and no distribution that reads weights.
        SourceError: when there are several graphs.
    """
    from polyhead.importing.folder import graph_of

    weights = source.is_dir() and any(
        [*source.glob("*.safetensors"), *source.glob("pytorch_model*.bin")]
    )
    if source.exists() and not weights and graph_of(source) is not None:
        return None
    what = f"{source}: {'PyTorch weights' if weights else 'no ONNX graph here'}"
    try:
        return cast(delegated.Checkpoints, delegated.command("import", what))
    except delegated.NeedsModels:
        if not weights or graph_of(source) is None:
            raise
        output.progress(f"{source}: its ONNX graph is taken, since polyhead-models is not here")
        return None


def wishes_of(arguments: argparse.Namespace, head: str | None) -> Wishes:
    """What the arguments say of one source."""
    from polyhead.importing import Wishes

    problem: Any = PROBLEMS.get(arguments.answer)
    return Wishes(
        head=head,
        pair=arguments.pair,
        problem=problem,
        pooling=arguments.pooling,
        max_tokens=arguments.max_tokens,
    )


def _check_counts(arguments: argparse.Namespace) -> None:
    count = len(arguments.source)
    for name in ("head", "prefix"):
        given = getattr(arguments, name)
        if given is not None and len(given) != count:
            arguments.usage_error(f"--{name}: found {len(given)} for {count} SOURCE")
    if count == 1 and (arguments.texts or arguments.prefix):
        name = "--texts" if arguments.texts else "--prefix"
        arguments.usage_error(f"{name}: for several SOURCE; 'polyhead export' takes --texts")


def _import_onnx(source: Path, arguments: argparse.Namespace) -> int:
    from polyhead.importing import import_folder
    from polyhead.system.schema import plain

    wishes = wishes_of(arguments, arguments.head)
    made = import_folder(source, arguments.output, wishes, note=output.progress)
    if arguments.json:
        output.write_json({**plain(made), "path": str(made.path)})
        return 0
    spec, graph = made.spec, made.graph
    header = ["head", "kind", "reads", "pooling", "max tokens", "labels", "precision", "layout"]
    row = [made.name, spec.kind, spec.input, spec.pooling, spec.max_tokens, len(spec.labels)]
    output.write(output.table(header, [[*row, graph.precision, graph.layout]]))
    output.progress(f"bundle: {made.path}")
    return 0
