"""Commands: light to import; torch is loaded only when one runs."""

from __future__ import annotations

import argparse

from polyhead_models.data.bad_rows import MOST


def add_max_errors(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says how many bad rows an error lists."""
    parser.add_argument(
        "--max-errors", type=int, default=MOST, metavar="N", help=f"most bad rows to list ({MOST})"
    )
