"""What checkpoints reach on their test splits, as one Markdown page and the same as JSON.

Each checkpoint is evaluated on the test split of the configuration that it remembers, beside TF-IDF
and a linear model that learn from the same training rows.

Example:
  polyhead results checkpoints/sst2 checkpoints/snips -o RESULTS.md
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
    parser.add_argument("--json", action="store_true", help="what PAGE.json holds")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead results`."""
    import json

    from polyhead import atomic
    from polyhead.strict import plain
    from polyhead_models.errors import ConfigError
    from polyhead_models.results import page
    from polyhead_models.results.collect import collect

    target: Path = arguments.output
    if target.suffix != ".md":
        raise ConfigError(f"{target}: expected the name of a page, which ends in .md.")
    report = collect(arguments.checkpoints, note=output.progress)
    beside = target.with_suffix(".json")
    text = json.dumps(plain(report), ensure_ascii=False, indent=1, allow_nan=False)
    atomic.write_text(beside, text + "\n")
    atomic.write_text(target, page.markdown(report, data=beside.name))
    if arguments.json:
        output.write_json(plain(report))
    else:
        output.write(output.table(page.FIGURES, page.figures(report)))
    output.progress(f"page: {target}")
    return 0
