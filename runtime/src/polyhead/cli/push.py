"""Put a bundle on the Hugging Face hub; 'polyhead.load' reads it from there.

The token is the one of 'hf auth login', or HF_TOKEN.

Example:
  polyhead push bundle/ hf:my-team/my-bundle
"""

from __future__ import annotations

import argparse
from pathlib import Path

from polyhead.bundle import hub
from polyhead.cli import output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead push`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("target", metavar="hf:ORG/NAME[@BRANCH]")
    parser.add_argument("--private", action="store_true", help="of a new repository")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead push`."""
    output.write(hub.push(arguments.bundle, arguments.target, private=arguments.private))
    return 0
