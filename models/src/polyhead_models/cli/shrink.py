"""Make a smaller, faster checkpoint that does what a trained one does.

The teacher is cut to fewer layers, neurons and attention heads; then the student learns from it: on
texts of any kind first (--texts), on those of its task then. Each head is held to the teacher's on
validation: one that loses more than --max-drop points stays with the teacher, and the table says
so. 'polyhead export STUDENT' works as always. STUDENT/shrink.md has the whole story.

--texts takes .txt files with a text a line, .jsonl and others with the key "text", or folders of
them. The more kinds of text, the less is lost on new ones. --save-general keeps the student as it
is after these texts, for --start of the next task. Equal --steps give equal students.

Example:
  polyhead shrink checkpoint/ -o student/ --texts texts.txt
  polyhead shrink checkpoint/ -o student/ --texts texts/ --layers 3 --ffn 512 --minutes 40
  polyhead export student/ -o bundle/
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from polyhead.cli import output

if TYPE_CHECKING:
    from polyhead_models.shrinking import ShrinkSettings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead shrink`."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="STUDENT")
    parser.add_argument(
        "--speed-up", type=float, metavar="X", help="time of a text, teacher over student (2.5)"
    )
    parser.add_argument("--layers", type=int, metavar="N", help="fix the number of layers")
    parser.add_argument("--ffn", type=int, metavar="N", help="fix the neurons of each layer")
    parser.add_argument(
        "--attention-heads", type=int, metavar="N", help="fix the attention heads of each layer"
    )
    parser.add_argument(
        "--max-drop", type=float, metavar="POINTS", help="most that a head may lose, of 100 (1.0)"
    )
    parser.add_argument(
        "--max-distance",
        type=float,
        metavar="D",
        help="1 minus the least mean cosine of vectors without labels (0.05)",
    )
    parser.add_argument(
        "--texts", type=Path, nargs="+", metavar="PATH", help="files or folders without labels"
    )
    parser.add_argument("--heads", nargs="+", metavar="HEAD", help="only these heads")
    parser.add_argument("--start", type=Path, metavar="GENERAL", help="see above")
    parser.add_argument("--save-general", type=Path, metavar="GENERAL", help="see above")
    parser.add_argument("--minutes", type=float, metavar="M", help="of learning, about (20)")
    parser.add_argument(
        "--steps", type=int, nargs=2, metavar=("GENERAL", "TASK"), help="in place of --minutes"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of everything random (0)")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    again.add_argument("--overwrite", action="store_true", help="start anew, whatever is there")
    parser.add_argument("--json", action="store_true", help="shrink.json on stdout")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead shrink`."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    from polyhead_models.shrinking import reports, shrink

    with logging_redirect_tqdm([logging.getLogger("polyhead_models")]):
        made = shrink(
            arguments.checkpoint,
            arguments.output,
            _settings(arguments),
            heads=arguments.heads,
            save_general=arguments.save_general,
            resume=arguments.resume,
            overwrite=arguments.overwrite,
        )
    if made.reused:
        output.progress(f"{made.path}: already shrunk with these settings and texts; kept")
    if arguments.json:
        output.write_json(dict(made.report))
        return 0
    output.write(output.table(reports.HEADER, reports.rows(made.report)))
    output.progress(f"student: {made.path}; report: {made.path / reports.PAGE}")
    return 0


def _settings(arguments: argparse.Namespace) -> ShrinkSettings:
    from polyhead_models.shrinking import ShrinkSettings

    given = {field.name: getattr(arguments, field.name) for field in fields(ShrinkSettings)}
    made = {name: value for name, value in given.items() if value is not None}
    for name in ("texts", "steps"):
        if name in made:
            made[name] = tuple(made[name])
    return ShrinkSettings(**made)
