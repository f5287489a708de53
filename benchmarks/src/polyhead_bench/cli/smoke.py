"""Does every peer answer right? A few texts, one round, no times.

All peers of this environment are asked, but for those that compile; vectors and other heads apart.
Exit code 1 when one fails, or gives other answers than the PyTorch model.

Example:
  polyhead bench smoke bundle/ --checkpoint checkpoint/
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from polyhead.bundle import read
from polyhead.cli import output
from polyhead.inference import threads
from polyhead_bench import metrics, peers
from polyhead_bench.cli.run import names
from polyhead_bench.convert import Models
from polyhead_bench.report.tables import tables, troubles
from polyhead_bench.results import Results
from polyhead_bench.run import run
from polyhead_bench.scenarios import RunSettings
from polyhead_bench.texts import asked_of

_TEXTS = 16
_LEFT_OUT = ("torch-compile",)  # compiles for longer than all the others take
_VECTORS = "embedding.v1"
_BUNDLES = ("polyhead-int8-padded", "two-encoders", "two-encoders-in-turn")
PEERS = tuple(
    name
    for name, spec in peers.PEERS.items()
    if spec.environment is None
    and name not in _LEFT_OUT
    and (spec.usual or spec.kind == _VECTORS or name in _BUNDLES)
)
"""Those of this environment that are asked."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench smoke`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--checkpoint", type=Path, required=True, help="behind the bundle")
    parser.add_argument("--peers", type=names, default=PEERS, metavar="NAME[,NAME…]", help="(all)")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench smoke`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = Models(
            bundle=arguments.bundle, checkpoint=arguments.checkpoint, cache=folder / "cache"
        )
        texts, codes = asked_of(models.bundle, limit=_TEXTS), [0]
        for heads, chosen in _runs(models.bundle, arguments.peers):
            settings = RunSettings(
                peers=chosen,
                scenarios=("single", "offline"),
                heads=heads,
                threads=threads.budget(),
                rounds=1,
                command="polyhead bench smoke",
            )
            results = run(models, texts, folder / "report", settings)
            state = tables(results)[0]
            output.write(output.table(list(state.header), [list(row) for row in state.rows]))
            codes.append(0 if _right(results) else 1)
        return max(codes)


def _runs(
    bundle: Path, asked: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Heads and peers of each run: heads without vectors first, then the first that gives them."""
    specs = {n: spec for n, spec in read(bundle).manifest.heads.items() if spec.input == "text"}
    vectors = [name for name, spec in specs.items() if spec.kind == _VECTORS]
    if others := tuple(name for name in specs if name not in vectors):
        yield others, tuple(name for name in asked if peers.spec(name).kind is None)
    of_kind = tuple(name for name in asked if peers.spec(name).kind == _VECTORS)
    if vectors and of_kind:
        yield (vectors[0],), ("polyhead-int8", "torch", *of_kind)


def _right(results: Results) -> bool:
    """Whether no peer failed and each answers nearly all like the PyTorch model."""
    return all(
        not troubles(results, name) and metrics.agreement(results, name) is not None
        for name in results.peers
    )
