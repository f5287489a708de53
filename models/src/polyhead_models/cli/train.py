"""Train a model with many heads from a TOML configuration.

Progress goes to stderr, the validation metrics to stdout. A run that was stopped goes on with
--resume; a finished checkpoint of the same settings and data is then kept as it is. --epochs +2
trains a finished one on. Heads that a constant answer, TF-IDF or, for heads that give vectors, the
untouched encoder would beat are named; agreement is the mean cosine with its vectors.

Processes that torchrun starts train one model together, each on its own batches; --resume takes as
many again.

The checkpoint has its learning curves in learning_curves.png. With --compare-single each trained
head is then trained alone with the same recipe, and CHECKPOINT-report/ next to the checkpoint gets
report.md and report.json (joint against single on the test split, or validation without one, with
bootstrap intervals) and the single checkpoints in single/HEAD/.

Example:
  polyhead train config.toml -o checkpoint/
  polyhead train config.toml -o checkpoint/ --epochs +2
  polyhead train config.toml -o checkpoint/ --compare-single --resume
  torchrun --standalone --nproc-per-node 2 -m polyhead train config.toml -o checkpoint/
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from polyhead.cli import output
from polyhead.errors import PolyheadError
from polyhead_models.cli import add_max_errors

if TYPE_CHECKING:
    from polyhead_models.training import Trained


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead train`."""
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    add_max_errors(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CHECKPOINT")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    again.add_argument("--overwrite", action="store_true", help="start anew, whatever is there")
    parser.add_argument(
        "--epochs",
        type=_more,
        metavar="+N",
        help="train the finished checkpoint for N epochs more; the better one stays",
    )
    parser.add_argument(
        "--compare-single", action="store_true", help="also train each head alone, and report"
    )
    parser.add_argument(
        "--json", action="store_true", help="metrics.json, or report.json, on stdout"
    )


def _more(word: str) -> int:
    """N of ``+N``."""
    if not word.startswith("+") or not word[1:].isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(
            f"found {word!r}, expected +N; a new run has the epochs of its configuration"
        )
    return int(word)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead train`; of several processes only the first speaks."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    from polyhead_models.training import processes

    processes.join()
    logger = logging.getLogger("polyhead_models")
    if processes.index() != 0:
        logger.setLevel(logging.WARNING)
    try:
        with logging_redirect_tqdm([logger]):  # lines between the bars, not inside one
            code = _train(arguments)
    except (PolyheadError, OSError):
        if processes.index() == 0:
            raise
        processes.outlast_first()
        return 1
    processes.leave()
    return code


def _train(arguments: argparse.Namespace) -> int:
    from polyhead_models import config
    from polyhead_models.errors import ConfigError
    from polyhead_models.training import processes

    with processes.together():
        made = config.load(arguments.config)
        if arguments.compare_single and processes.count() > 1:
            raise ConfigError(
                "--compare-single trains and measures in one process: leave torchrun out. Both"
                " sides of the comparison would otherwise have other batches than one process has."
            )
        if arguments.epochs and (arguments.compare_single or arguments.overwrite):
            raise ConfigError("--epochs +N goes with neither --compare-single nor --overwrite.")
    flags = {key: getattr(arguments, key) for key in ("resume", "overwrite", "max_errors")}
    if arguments.compare_single:
        from polyhead_models import comparison

        heads = comparison.compare(made, arguments.output, **flags)
        folder = comparison.report_folder(arguments.output)
        if arguments.json:
            output.write((folder / "report.json").read_text(encoding="utf-8"))
        else:
            output.write(output.table(comparison.HEADER, comparison.rows(heads)))
            output.progress(f"checkpoint: {arguments.output}")
        output.progress(f"report: {folder}")
    else:
        from polyhead_models.training import train

        trained = train(made, arguments.output, more_epochs=arguments.epochs, **flags)
        if processes.index() == 0:
            _show(trained, as_json=arguments.json)
    return 0


def _show(trained: Trained, *, as_json: bool) -> None:
    if trained.reused:
        output.progress(f"{trained.path}: already trained with these settings and data; kept")
    if as_json:
        output.write_json(dict(trained.metrics))
        return
    # Checkpoints of older versions have the first only.
    parts = ("validation", "floors", "untouched", "agreement")
    found, least, untouched, agreement = (trained.metrics.get(part, {}) for part in parts)
    header = ["head", "metric", "validation", "texts", "chance", "TF-IDF"]
    rows = [
        [head]
        + [found.get(head, {}).get(key) for key in ("metric", "value", "texts")]
        + [least.get(head, {}).get(key) for key in ("chance", "tfidf")]
        for head in {**found, **agreement}
    ]
    if agreement:
        header += ["untouched", "agreement"]
        for row in rows:
            row += [untouched.get(row[0], {}).get("value"), agreement.get(row[0])]
    if rows:
        output.write(output.table(header, rows))
    output.progress(f"checkpoint: {trained.path}")
