"""Train a model with many heads from a TOML configuration.

Progress goes to stderr, the validation figures to stdout. A run that was stopped goes on with
--resume; a finished checkpoint of the same settings and data is then kept as it is. Processes that
torchrun starts train one model together, each on its own batches; --resume takes as many again.

Example:
  polyhead train config.toml -o checkpoint/
  torchrun --standalone --nproc-per-node 2 -m polyhead train config.toml -o checkpoint/
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from polyhead.cli import output
from polyhead.errors import PolyheadError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead train`."""
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CHECKPOINT")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    again.add_argument("--overwrite", action="store_true", help="start anew, whatever is there")
    parser.add_argument("--json", action="store_true", help="metrics.json on stdout")


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead train`; of several processes only the first speaks."""
    from polyhead_models import processes

    processes.join()
    try:
        code = _train(arguments)
    except (PolyheadError, OSError):
        if processes.index() == 0:
            raise
        processes.outlast_first()
        return 1
    processes.leave()
    return code


def _train(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from polyhead_models import config, processes
    from polyhead_models.training import train

    with processes.together():
        settings = config.load(arguments.config)
    trained = train(
        settings,
        arguments.output,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        note=partial(tqdm.write, file=sys.stderr),  # between the bars, not inside one
    )
    if processes.index() > 0:
        return 0
    if trained.reused:
        output.progress(f"{trained.path}: already trained with these settings and data; kept")
    if arguments.json:
        output.write_json(dict(trained.metrics))
        return 0
    rows = [
        [head, found["metric"], found["value"], found["texts"]]
        for head, found in trained.metrics["validation"].items()
    ]
    if rows:
        output.write(output.table(["head", "metric", "validation", "texts"], rows))
    output.progress(f"checkpoint: {trained.path}")
    return 0
