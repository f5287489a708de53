"""`polyhead combine` for checkpoints; the runtime's own command is for bundles, too."""

from __future__ import annotations

import argparse

from polyhead.cli import combine as runtime
from polyhead.cli import output
from polyhead.cli.combine import configure

__all__ = ["configure", "execute"]
__doc__ = runtime.__doc__


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
