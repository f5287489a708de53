"""Is the built-in layout of the int8 graph still the best in this onnxruntime on this CPU?

Every alternative of every pattern is put into the bundle's graph and timed in turns with the
built-in choice, one thread. Alternatives that compute something else are timed to know, and never
written.

Example:
  polyhead probe bundle/ --write-best faster/
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from polyhead.cli import output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead probe`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 128], metavar="N")
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="of each graph (40)")
    parser.add_argument(
        "--margin", type=float, default=2.0, metavar="PERCENT", help="to win by at least (2)"
    )
    parser.add_argument(
        "--write-best", type=Path, metavar="BUNDLE", help="write a bundle in the best layout"
    )
    parser.add_argument("--json", action="store_true", help="the timings as JSON")
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead probe`."""
    if min(arguments.rounds, *arguments.tokens) < 1 or arguments.margin < 0:
        arguments.usage_error("--rounds and --tokens: at least 1; --margin: not negative")
    run(
        arguments.bundle,
        tokens=arguments.tokens,
        rounds=arguments.rounds,
        margin=arguments.margin / 100,
        write_best=arguments.write_best,
        as_json=arguments.json,
    )
    return 0


def run(
    path: Path,
    *,
    tokens: list[int],
    rounds: int = 40,
    margin: float = 0.02,
    write_best: Path | None = None,
    as_json: bool = False,
) -> None:
    """Probe a bundle and print what was found; `polyhead export --probe` does it too."""
    import onnx_ir as ir
    import onnxruntime

    from polyhead.bundle import read
    from polyhead.system import cpu
    from polyhead_export.layout import BUILT_IN
    from polyhead_export.probe import probe, writing

    bundle = read(path)
    graph = writing.int8_graph(bundle)
    writing.require_built_in(bundle)
    longest = bundle.manifest.encoder.max_tokens
    shapes = sorted({(1, min(n, longest)) for n in tokens})
    found = probe.probe(
        ir.load(bundle.file(graph)),
        shapes=shapes,
        rounds=rounds,
        margin=margin,
        note=output.progress,
    )
    if as_json:
        machine = {"onnxruntime": onnxruntime.__version__, "cpu": asdict(cpu.describe())}
        output.write_json({**asdict(found), "built_in": asdict(BUILT_IN), **machine})
    else:
        rows = [
            [
                t.pattern,
                t.alternative,
                f"{t.shape[0]}x{t.shape[1]}",
                f"{t.milliseconds:.3f}",
                f"{t.ratio:.3f}",
                f"{t.interval[0]:.3f} to {t.interval[1]:.3f}",
                "yes" if t.exact else "no",
            ]
            for t in found.timings
        ]
        header = ["pattern", "alternative", "shape", "ms", "ratio", "95% interval", "exact"]
        output.write(output.table(header, rows))
    output.progress(
        "the built-in layout is still the best here"
        if found.built_in_is_best
        else f"another layout wins here: {found.best}"
    )
    if write_best is not None and not found.built_in_is_best:
        writing.write(bundle, write_best, found.best)
        output.progress(f"bundle: {write_best}; check it with 'polyhead verify {write_best}'")
