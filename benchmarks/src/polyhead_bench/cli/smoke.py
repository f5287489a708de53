"""Does every peer of this environment answer right? On a tiny model, without times.

A model is trained and exported, and every peer is asked a few texts. Exit code 1 when one fails, or
gives other answers than the PyTorch model.

Example:
  polyhead bench smoke
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from polyhead.cli import output
from polyhead.inference import threads
from polyhead_bench import metrics, peers
from polyhead_bench.cli.run import names
from polyhead_bench.convert import Models
from polyhead_bench.report.tables import tables, troubles
from polyhead_bench.results import Results
from polyhead_bench.run import run
from polyhead_bench.scenarios import Settings
from polyhead_bench.texts import asked_of

_TEXTS = 16
_LEFT_OUT = ("torch-compile",)  # compiles for longer than all the others take
# These answer a head that others do not, or with more heads.
_VECTORS = tuple(name for name, spec in peers.PEERS.items() if spec.kind is not None)
_BUNDLES = ("polyhead-int8-padded", "two-encoders", "two-encoders-in-turn")
PEERS = tuple(
    name
    for name, spec in peers.PEERS.items()
    if spec.environment is None
    and name not in _LEFT_OUT
    and (spec.usual or name in (*_BUNDLES, *_VECTORS))
)
"""Those of this environment that are asked."""
_RUNS = (
    # Heads of kinds for which transformers has pipelines; then the one that gives vectors.
    (("topic", "entities"), tuple(name for name in PEERS if name not in _VECTORS)),
    (("embedding",), ("polyhead-int8", "torch", *(name for name in PEERS if name in _VECTORS))),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead bench smoke`."""
    parser.add_argument("--peers", type=names, default=PEERS, metavar="NAME[,NAME…]", help="(all)")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead bench smoke`."""
    from polyhead_bench import tiny

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny.make(folder)
        models = Models(
            bundle=folder / "bundle",
            checkpoint=folder / "checkpoint",
            cache=folder / "cache",
        )
        runs = [
            (heads, tuple(peer for peer in known if peer in arguments.peers))
            for heads, known in _RUNS
        ]
        return max(_asked(models, heads, chosen, folder) for heads, chosen in runs if chosen)


def _asked(models: Models, heads: tuple[str, ...], chosen: tuple[str, ...], folder: Path) -> int:
    settings = Settings(
        peers=chosen,
        scenarios=("single", "offline"),
        heads=heads,
        threads=threads.budget(),
        rounds=1,
        command="polyhead bench smoke",
    )
    texts = asked_of(models.bundle, limit=_TEXTS)
    results = run(models, texts, folder / "report", settings)
    state = tables(results)[0]
    output.write(output.table(list(state.header), [list(row) for row in state.rows]))
    return 0 if _right(results) else 1


def _right(results: Results) -> bool:
    """Whether no peer failed and each answers nearly all like the PyTorch model."""
    return all(
        not troubles(results, name) and metrics.agreement(results, name) is not None
        for name in results.peers
    )
