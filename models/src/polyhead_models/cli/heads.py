"""List the heads of a checkpoint, add those of another, or remove some.

The heads that stay give the logits that they gave, bit for bit. A head is added from a checkpoint
whose encoder has the same weights: train it with freeze = "encoder" and the deployed checkpoint's
folder as the name of the encoder.

Example:
  polyhead heads list checkpoint/
  polyhead heads add checkpoint/ urgency/ -o new/
  polyhead heads add checkpoint/ other/ --head topic --prefix other- -o new/
  polyhead heads remove checkpoint/ topic -o new/
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from polyhead.cli import output

if TYPE_CHECKING:
    from polyhead_models.checkpoint import Description


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead heads`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|add|remove")
    listing = verbs.add_parser("list", help="what heads a checkpoint has")
    listing.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    adding = verbs.add_parser("add", help="add the heads of another checkpoint")
    adding.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    adding.add_argument("other", type=Path, metavar="OTHER")
    adding.add_argument("--head", action="append", metavar="HEAD", help="only this one (all)")
    adding.add_argument("--prefix", default="", help="put before the names of what is added")
    removing = verbs.add_parser("remove", help="leave heads out")
    removing.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    removing.add_argument("heads", nargs="+", metavar="HEAD")
    for verb in (adding, removing):
        verb.add_argument("-o", "--output", type=Path, required=True, metavar="CHECKPOINT")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead heads`."""
    if arguments.verb == "list":
        from polyhead_models import checkpoint

        show(checkpoint.describe(arguments.checkpoint))
        return 0
    from polyhead_models.combining import Part, combine, remove

    if arguments.verb == "remove":
        show(remove(arguments.checkpoint, arguments.heads, arguments.output))
    else:
        taken = None if arguments.head is None else tuple(arguments.head)
        added = Part(arguments.other, arguments.prefix, taken)
        show(combine([Part(arguments.checkpoint), added], arguments.output))
    output.progress(f"checkpoint: {arguments.output}")
    return 0


def show(description: Description) -> None:
    """The heads of a checkpoint as a table on stdout."""
    output.write(
        output.table(
            ["head", "kind", "reads", "pooling", "labels"],
            [
                [name, spec.kind, spec.input, spec.pooling, len(spec.labels)]
                for name, spec in description.heads.items()
            ],
        )
    )
