"""Answer texts with a bundle: a page for people on a terminal, JSON lines otherwise.

Example:
  polyhead run bundle/ "Great phone, but the battery died in May."
  polyhead run bundle/ --input messages.jsonl --heads sentiment > answers.jsonl
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

from polyhead import InputError, Prediction, load
from polyhead.cli import output, texts

_CHUNK = 512


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead run`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("text", nargs="*", metavar="TEXT")
    parser.add_argument(
        "--input", metavar="FILE", help="JSON lines with a text each; '-' reads standard input"
    )
    parser.add_argument("--field", default="text", help="key of the text in a line (text)")
    parser.add_argument("--heads", metavar="HEAD,HEAD", help="only these heads")
    parser.add_argument("--threads", type=int, metavar="N", help="upper limit of worker threads")
    parser.add_argument("--json", action="store_true", help="JSON lines, on a terminal too")
    parser.add_argument(
        "--on-overflow",
        choices=["error", "truncate"],
        default="error",
        help="what happens to a text longer than the encoder reads (error)",
    )
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead run`."""
    if bool(arguments.text) == (arguments.input is not None):
        arguments.usage_error("give either TEXT or --input FILE")
    as_json = arguments.json or not sys.stdout.isatty()
    remaining = iter(arguments.text or texts.read(arguments.input, arguments.field))
    heads = arguments.heads.split(",") if arguments.heads else None
    done = 0
    with load(
        arguments.bundle, threads=arguments.threads, on_overflow=arguments.on_overflow
    ) as engine:
        while chunk := list(itertools.islice(remaining, _CHUNK)):
            try:
                predictions = engine.predict(chunk, heads=heads)
            except InputError as problem:
                if problem.index is None or done == 0:
                    raise
                raise InputError(f"counting from text {done} on: {problem}") from problem
            for prediction in predictions:
                _write(prediction, as_json)
            done += len(chunk)
            if arguments.input is not None:
                output.progress(f"{done:,} texts")
    return 0


def _write(prediction: Prediction, as_json: bool) -> None:
    if as_json:
        output.write_json(prediction.to_dict(), indent=None)
    else:
        indented = str(prediction).replace("\n", "\n  ")
        output.write(f"{prediction.text}\n  {indented}\n")
