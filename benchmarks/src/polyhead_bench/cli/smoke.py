"""`polyhead bench --smoke`: does every peer of this environment answer right? No times."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from polyhead.cli import output
from polyhead_bench import peers
from polyhead_bench.cli import run

_HEADS = "topic,entities"  # a kind each for which transformers has pipelines
_LEFT_OUT = ("torch-compile",)  # compiles for longer than all the others take
PEERS = tuple(n for n, s in peers.PEERS.items() if s.environment is None and n not in _LEFT_OUT)
"""Those that are asked."""


def execute() -> int:
    """Train a tiny model, ask every peer once; 1 when one fails or gives other answers."""
    from polyhead_bench import tiny

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny.make(folder, note=output.progress)
        parser = argparse.ArgumentParser()
        run.configure(parser)
        words = [str(folder / "bundle"), "--checkpoint", str(folder / "checkpoint"), "--smoke"]
        words += ["--peers", ",".join(PEERS), "--heads", _HEADS]
        words += ["--cache", str(folder / "cache"), "-o", str(folder / "report")]
        return run.execute(parser.parse_args(words))
