"""`polyhead bench --smoke`: does every peer of this environment answer right? No times."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from polyhead.cli import output
from polyhead_bench import peers
from polyhead_bench.cli import run

_LEFT_OUT = ("torch-compile",)  # compiles for longer than all the others take
_VECTORS = tuple(name for name in peers.PEERS if name.startswith("sentence-transformers"))
PEERS = tuple(n for n, s in peers.PEERS.items() if s.environment is None and n not in _LEFT_OUT)
"""Those that are asked."""
_RUNS = (
    # A kind each for which transformers has pipelines.
    ("topic,entities", [name for name in PEERS if name not in _VECTORS]),
    ("embedding", ["polyhead-int8", "torch", *(name for name in PEERS if name in _VECTORS)]),
)


def execute() -> int:
    """Train a tiny model, ask every peer once; 1 when one fails or gives other answers."""
    from polyhead_bench import tiny

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny.make(folder, note=output.progress)
        return max([_asked(folder, heads, names) for heads, names in _RUNS])


def _asked(folder: Path, heads: str, names: list[str]) -> int:
    parser = argparse.ArgumentParser()
    run.configure(parser)
    words = [str(folder / "bundle"), "--checkpoint", str(folder / "checkpoint"), "--smoke"]
    words += ["--peers", ",".join(names), "--heads", heads]
    words += ["--cache", str(folder / "cache"), "-o", str(folder / "report")]
    return run.execute(parser.parse_args(words))
