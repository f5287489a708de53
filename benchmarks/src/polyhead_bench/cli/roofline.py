"""How near a bundle's graph is to what one core of this CPU can do.

Measures the peak of a large product of matrices in onnxruntime, int8 and fp32, then the graph at
several lengths, one thread, and splits the time by operator.

Example:
  polyhead bench roofline bundle/
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np

from polyhead.bundle import read
from polyhead.cli import output
from polyhead.system import cpu
from polyhead_bench.scenarios.context import LENGTHS

_SHOWN = 4


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench roofline`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--feed-forward",
        type=int,
        metavar="N",
        help="width of feed-forward (4 x hidden)",
    )
    parser.add_argument("--json", action="store_true", help="the measurements as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench roofline`."""
    from polyhead_bench import roofline

    bundle = read(arguments.bundle)
    encoder, graph = bundle.manifest.encoder, bundle.manifest.graphs[0]
    found = roofline.peaks(cpu.describe().flags, roofline.clock_ghz())
    kind = "int8" if graph.precision == "int8" else "fp32"
    points = []
    for tokens in [n for n in LENGTHS if n <= encoder.max_tokens]:
        gop = roofline.operations(
            layers=encoder.layers,
            hidden=encoder.hidden_size,
            feed_forward=arguments.feed_forward or 4 * encoder.hidden_size,
            tokens=tokens,
        )
        feeds = {name: np.full((1, tokens), 5, np.int64) for name in graph.inputs}
        if "token_type_ids" in feeds:
            feeds["token_type_ids"][:] = 0
        points.append(roofline.measure(bundle.file(graph), feeds, gop=gop, peak=found[kind]))
    if arguments.json:
        output.write_json(
            {
                "peaks": {name: asdict(peak) for name, peak in found.items()},
                "points": [asdict(point) for point in points],
            }
        )
        return 0
    output.write(
        output.table(
            ["peak", "measured Gop/s", "theoretical Gop/s"],
            [
                [p.kind, f"{p.measured:,.0f}", f"{p.theoretical:,.0f}" if p.theoretical else None]
                for p in found.values()
            ],
        )
    )
    output.write("")
    rows = [
        [
            *(p.tokens, f"{p.operations:.2f}", f"{p.ms:.2f}", f"{p.operations / p.ms * 1e3:,.0f}"),
            f"{100 * p.share:.0f}%",
            ", ".join(f"{name} {100 * s:.0f}%" for name, s in list(p.by_operator.items())[:_SHOWN]),
        ]
        for p in points
    ]
    header = ["tokens", "Gop", "ms", "Gop/s", f"of the {kind} peak", "time by operator"]
    output.write(output.table(header, rows))
    return 0
