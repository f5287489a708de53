"""Make a checkpoint of a model of transformers or sentence-transformers: one head, the same logits.

SOURCE is a folder that save_pretrained wrote, or the id of a repository on the hub. Known are
*ForSequenceClassification (one label, several labels or a number), *ForTokenClassification and
*ForQuestionAnswering of the common encoder families, encoders without a head, and folders of
sentence-transformers. Labels, special tokens and weights are kept; the logits are compared with the
original's before anything is written. No code of a repository is run, and no pickled code.

Example:
  polyhead import my-finetuned-bert/ -o checkpoint/
  polyhead import sentence-transformers/all-MiniLM-L6-v2 -o embedder/ --head search
"""

from __future__ import annotations

import argparse
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
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CHECKPOINT")
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
    parser.add_argument("--max-tokens", type=int, metavar="N", help="longest input (the model's)")
    parser.add_argument("--json", action="store_true", help="what was made, as JSON")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead import`."""
    if arguments.max_tokens is not None and arguments.max_tokens < 3:
        arguments.usage_error("--max-tokens: expected at least 3")
    from polyhead.strict import plain
    from polyhead_models.importing import Wishes, import_model

    problem: Any = _PROBLEMS.get(arguments.answer)
    made = import_model(
        arguments.source,
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
    spec = made.spec
    header = ["head", "kind", "reads", "pooling", "max tokens", "labels", "largest difference"]
    shown = "-" if made.difference is None else f"{made.difference:.1e}"
    row = [made.name, spec.kind, spec.input, spec.pooling, spec.max_tokens, len(spec.labels), shown]
    output.write(output.table(header, [row]))
    output.progress(f"checkpoint: {made.path}")
    return 0
