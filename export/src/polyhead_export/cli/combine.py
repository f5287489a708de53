"""Put the heads of several checkpoints, or of several bundles, into one.

Checkpoints: their encoders must have the same weights, whatever they are called (heads trained with
freeze = "encoder", say). 'polyhead export' makes one graph of the result, which answers all heads
in one pass. The heads give the logits that they gave.

Bundles: each keeps its metrics, golden answers and provenance; a tokenizer that several have is
stored and run once. Graphs over one encoder become one graph, whose heads give the golden texts the
logits that they gave, to the bit; its stability is measured again. Other graphs are copied, and
'polyhead.load' runs them side by side.

Example:
  polyhead combine intents/ entities/ -o both/
  polyhead combine ours/ theirs/ -o both/ --prefix our- --prefix their-
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polyhead.bundle import is_bundle
from polyhead.cli import output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead combine`."""
    parser.add_argument("sources", type=Path, nargs="+", metavar="CHECKPOINT_OR_BUNDLE")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--prefix",
        action="append",
        metavar="PREFIX",
        help="put before the names of the heads, once for each source in their order",
    )
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead combine`."""
    paths, prefixes = arguments.sources, arguments.prefix
    if len(paths) < 2:
        arguments.usage_error("expected at least two checkpoints or bundles")
    if prefixes is not None and len(prefixes) != len(paths):
        arguments.usage_error(f"--prefix: found {len(prefixes)} for {len(paths)} sources")
    sources = list(zip(paths, prefixes or [""] * len(paths), strict=True))
    bundles = [path for path in paths if is_bundle(path)]
    if not bundles:
        return _checkpoints(sources, arguments.output)
    if len(bundles) != len(paths):
        other = next(path for path in paths if path not in bundles)
        arguments.usage_error(
            f"{bundles[0]} is a bundle and {other} is none: combine bundles, or checkpoints"
        )
    return _bundles(sources, arguments.output)


def _checkpoints(sources: Sequence[tuple[Path, str]], target: Path) -> int:
    from polyhead_models.cli.heads import show
    from polyhead_models.combining import Part, combine

    show(combine([Part(path, prefix) for path, prefix in sources], target))
    output.progress(f"checkpoint: {target}")
    return 0


def _bundles(sources: Sequence[tuple[Path, str]], target: Path) -> int:
    from polyhead_export.combining import combine

    made = combine(sources, target)
    rows = [
        [name, spec.kind, part.encoder.name, part.graphs[0].file, part.tokenizer.file]
        for part in made.parts
        for name, spec in part.heads.items()
    ]
    output.write(output.table(["head", "kind", "encoder", "graph", "tokenizer"], rows))
    output.progress(
        f"bundle: {made.path}, {made.size / 1e6:.2f} MB; {made.saved / 1e6:.2f} MB saved"
    )
    return 0
