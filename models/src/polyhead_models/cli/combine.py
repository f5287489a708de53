"""Put the heads of several checkpoints over the one encoder that they share.

The encoders must have the same weights, whatever they are called: heads trained with
freeze = "encoder", say. The heads give the logits that they gave. 'polyhead export' makes one graph
of the result, which answers all of them in one pass.

Example:
  polyhead combine intents/ entities/ -o both/
  polyhead combine ours/ theirs/ -o both/ --prefix our- --prefix their-
"""

from __future__ import annotations

import argparse
from pathlib import Path

from polyhead.cli import output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead combine`."""
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CHECKPOINT")
    parser.add_argument(
        "--prefix",
        action="append",
        metavar="PREFIX",
        help="put before the names of the heads, once for each checkpoint in their order",
    )
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead combine`."""
    paths, prefixes = arguments.checkpoints, arguments.prefix
    if len(paths) < 2:
        arguments.usage_error("expected at least two checkpoints")
    if prefixes is not None and len(prefixes) != len(paths):
        arguments.usage_error(f"--prefix: found {len(prefixes)} for {len(paths)} checkpoints")
    from polyhead_models.cli.heads import show
    from polyhead_models.combining import Part, combine

    parts = [
        Part(p, prefix) for p, prefix in zip(paths, prefixes or [""] * len(paths), strict=True)
    ]
    show(combine(parts, arguments.output))
    output.progress(f"checkpoint: {arguments.output}")
    return 0
