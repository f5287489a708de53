"""Put the heads of several checkpoints, or of several bundles, into one.

Checkpoints: their encoders must have the same weights, whatever they are called (heads trained with
freeze = "encoder", say). 'polyhead export' makes one graph of the result, which answers all heads
in one pass. The heads give the logits that they gave.

Bundles: each keeps its metrics, golden answers and provenance; a tokenizer that several have is
stored and run once. Graphs over one encoder become one graph, whose heads give the golden texts the
logits that they gave, to the bit; its stability is measured again. Other graphs are copied, and
'polyhead.load' runs them side by side.

A cascade: --cascade of two bundles, a small fast model and a large one, with texts such as will be
asked, which need no labels and should not have been trained on. The student answers, and the
teacher what the student is not sure of: heads of classification and multilabel that both have, each
with the smallest threshold with which at most --max-flips percent of the teacher's decisions are to
be expected to change. All other heads of the teacher stay with it.

Example:
  polyhead combine intents/ entities/ -o both/
  polyhead combine ours/ theirs/ -o both/ --prefix our- --prefix their-
  polyhead combine student/ teacher/ -o cascade/ --cascade --texts validation.jsonl
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polyhead.bundle import is_bundle
from polyhead.cli import output, texts


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
    parser.add_argument(
        "--cascade", action="store_true", help="of two bundles: a student, and its teacher"
    )
    parser.add_argument(
        "--texts", type=Path, metavar="FILE", help="for --cascade: .jsonl, .csv, .tsv or .txt"
    )
    parser.add_argument(
        "--field",
        default="text",
        help="key of the text in a row of --texts (text); KEY,KEY reads a pair",
    )
    parser.add_argument(
        "--max-flips",
        type=float,
        default=0.5,
        metavar="PERCENT",
        help="of the teacher's decisions that a cascade may change, by head (0.5)",
    )
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead combine`."""
    paths, prefixes = arguments.sources, arguments.prefix
    if len(paths) < 2:
        arguments.usage_error("expected at least two checkpoints or bundles")
    if prefixes is not None and len(prefixes) != len(paths):
        arguments.usage_error(f"--prefix: found {len(prefixes)} for {len(paths)} sources")
    if arguments.cascade != (arguments.texts is not None):
        arguments.usage_error("--cascade and --texts FILE go together")
    if not 0 < arguments.max_flips <= 100:
        arguments.usage_error("--max-flips: expected percent, above 0 to 100")
    sources = list(zip(paths, prefixes or [""] * len(paths), strict=True))
    bundles = [path for path in paths if is_bundle(path)]
    if arguments.cascade and (len(bundles), len(paths)) != (2, 2):
        arguments.usage_error("--cascade: expected two bundles, a student and its teacher")
    if not bundles:
        return _checkpoints(sources, arguments.output)
    if len(bundles) != len(paths):
        other = next(path for path in paths if path not in bundles)
        arguments.usage_error(
            f"{bundles[0]} is a bundle and {other} is none: combine bundles, or checkpoints"
        )
    return _bundles(sources, arguments)


def _checkpoints(sources: Sequence[tuple[Path, str]], target: Path) -> int:
    from polyhead_models.cli.heads import show
    from polyhead_models.combining import Part, combine

    show(combine([Part(path, prefix) for path, prefix in sources], target))
    output.progress(f"checkpoint: {target}")
    return 0


def _bundles(sources: Sequence[tuple[Path, str]], arguments: argparse.Namespace) -> int:
    from polyhead_export.combining import cascade_heads, combine

    cascade = None
    if arguments.cascade:
        student, teacher = sources
        asked = [text for _, text in texts.read(str(arguments.texts), arguments.field)]
        cascade = cascade_heads(student, teacher, asked, max_flips=arguments.max_flips)
    made = combine(sources, arguments.output, cascade)
    if cascade:
        columns = ["head", "threshold", "texts", "teacher asked %", "changed %"]
        measured = [
            [name, c.threshold, c.texts, 100 * c.asked, 100 * c.changed]
            for name, c in cascade.items()
        ]
        output.write(f"{output.table(columns, measured)}\n")
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
