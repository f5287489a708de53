"""Write a first configuration from files of rows: jsonl, csv, tsv, json, parquet or SQuAD.

It looks at columns and values, guesses the text, the heads and their kinds, and says in comments
what it guessed. Files with the word "valid", "val", "dev" or "test" in their names are those
splits; without a file for validation a fifth of the training rows is.

Example:
  polyhead init data.jsonl
  polyhead init train.csv dev.csv test.csv -o config.toml
"""

from __future__ import annotations

import argparse
from pathlib import Path

from polyhead.cli import output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead init`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("config.toml"),
        metavar="CONFIG.toml",
        help="(config.toml)",
    )
    parser.add_argument("--encoder", metavar="NAME", help="(all-MiniLM-L6-v2)")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead init`."""
    from polyhead.system import atomic
    from polyhead_models import config
    from polyhead_models.data.guessing import ENCODER, configuration
    from polyhead_models.errors import ConfigError

    target = arguments.output
    if target.exists():
        raise ConfigError(f"{target}: exists. Name another file, or remove this one.")
    encoder = arguments.encoder or ENCODER
    made = configuration(arguments.files, target.absolute().parent, encoder=encoder)
    atomic.write(target, made)
    for name, head in config.load(target).heads.items():
        output.progress(f"{name}: {head.kind}")
    output.progress(f"{target}: look at it, then 'polyhead data {target}'")
    return 0
