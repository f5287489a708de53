"""What checkpoints reach on their test splits, as one Markdown page and the same as JSON.

Each checkpoint is evaluated on the test split of the configuration that it remembers, beside TF-IDF
and a linear model that learn from the same training rows.

Example:
  polyhead results checkpoints/sst2 checkpoints/snips -o RESULTS.md
  polyhead results checkpoints/ud-pos -o RESULTS.md --update --no-baseline
"""

from __future__ import annotations

import argparse
from pathlib import Path

from polyhead.cli import output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead results`."""
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="PAGE.md",
        help="PAGE.json is written beside it",
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="keep what the page says of other checkpoints; same machine and versions only",
    )
    parser.add_argument(
        "--no-baseline",
        action="store_true",
        help="leave TF-IDF out, which takes long for tags on many words",
    )
    parser.add_argument("--json", action="store_true", help="what PAGE.json holds")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead results`."""
    import json

    from polyhead.system import atomic
    from polyhead.system.schema import plain
    from polyhead_models.errors import ConfigError
    from polyhead_models.results import contents, page
    from polyhead_models.results.collect import collect

    target: Path = arguments.output
    if target.suffix != ".md":
        raise ConfigError(f"{target}: expected the name of a page, which ends in .md.")
    beside = target.with_suffix(".json")
    known = contents.read(beside) if arguments.update and beside.is_file() else None
    report = collect(
        arguments.checkpoints,
        known=known,
        baselines=not arguments.no_baseline,
        note=output.progress,
    )
    text = json.dumps(plain(report), ensure_ascii=False, indent=1, allow_nan=False)
    atomic.write_text(beside, text + "\n")
    atomic.write_text(target, page.markdown(report, data=beside.name))
    if arguments.json:
        output.write_json(plain(report))
    else:
        output.write(output.table(page.FIGURES, page.figures(report)))
    output.progress(f"page: {target}")
    return 0
