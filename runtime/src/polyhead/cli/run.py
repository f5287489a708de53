"""Answer texts with a bundle: a page for people on a terminal, JSON lines otherwise.

Example:
  polyhead run bundle/ "Great phone, but the battery died in May."
  polyhead run bundle/ --input messages.jsonl --heads sentiment > answers.jsonl
  polyhead run bundle/ --pair "Who paid?" "Ann paid for Bo." --option answer.n=3
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyhead import InputError, InvalidSetting, Prediction, load
from polyhead.cli import output, texts
from polyhead.text.encoding import Input

_CHUNK = 512


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead run`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("text", nargs="*", type=_utf8, metavar="TEXT")
    parser.add_argument(
        "--input", metavar="FILE", help="JSON lines with a text each; '-' reads standard input"
    )
    parser.add_argument(
        "--field",
        type=_utf8,
        default="text",
        help="key of the text in a line (text); KEY,KEY reads a pair",
    )
    parser.add_argument(
        "--pair", action="store_true", help="TEXT TEXT are pairs: a question and its text, say"
    )
    parser.add_argument(
        "--option",
        action="append",
        type=_utf8,
        default=[],
        metavar="HEAD.NAME=VALUE",
        help="a setting of one head, such as summary.k=2 or answer.n=3; may be given again",
    )
    parser.add_argument("--heads", type=_utf8, metavar="HEAD,HEAD", help="only these heads")
    parser.add_argument("--threads", type=int, metavar="N", help="upper limit of worker threads")
    parser.add_argument("--json", action="store_true", help="JSON lines, on a terminal too")
    parser.add_argument(
        "--on-overflow",
        choices=["window", "truncate", "error"],
        default="window",
        help="what happens to a text longer than the encoder reads (window)",
    )
    parser.set_defaults(usage_error=parser.error)


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead run`."""
    if bool(arguments.text) == (arguments.input is not None):
        arguments.usage_error("give either TEXT or --input FILE")
    as_json = arguments.json or not sys.stdout.isatty()
    if arguments.pair and (arguments.input is not None or len(arguments.text) % 2):
        arguments.usage_error("--pair needs TEXT TEXT; in a file, a pair is a list of two texts")
    given: list[Input] = arguments.text
    if arguments.pair:
        given = list(zip(arguments.text[::2], arguments.text[1::2], strict=True))
    numbered = ((f"TEXT {number}", item) for number, item in enumerate(given, start=1))
    remaining = numbered if given else texts.read(arguments.input, arguments.field)
    options = _options(arguments.option)
    heads = arguments.heads.split(",") if arguments.heads else None
    done = 0
    with load(
        arguments.bundle, threads=arguments.threads, on_overflow=arguments.on_overflow
    ) as engine:
        while chunk := list(itertools.islice(remaining, _CHUNK)):
            try:
                asked = [item for _, item in chunk]
                predictions = engine.predict(asked, heads=heads, options=options)
            except InputError as problem:
                if problem.index is None:
                    raise
                raise InputError(f"{chunk[problem.index][0]}: {problem}") from problem
            for prediction in predictions:
                _write(prediction, as_json)
            done += len(chunk)
            if arguments.input is not None:
                output.progress(f"{done:,} texts")
    return 0


def _utf8(argument: str) -> str:
    """An argument in UTF-8, which Python has read in the locale's encoding."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeError:
        return argument


def _options(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``summary.k=2`` as ``{"summary": {"k": 2}}``; a value is JSON, or a text as it is."""
    found: dict[str, dict[str, Any]] = {}
    for item in given:
        place, equals, value = item.partition("=")
        head, dot, name = place.rpartition(".")
        if not (equals and dot and head and name):
            raise InvalidSetting(f"--option {item}: expected HEAD.NAME=VALUE, as in summary.k=2.")
        try:
            setting = json.loads(value)
        except (ValueError, RecursionError):
            setting = value
        found.setdefault(head, {})[name] = setting
    return found


def _write(prediction: Prediction, as_json: bool) -> None:
    if as_json:
        output.write_json(prediction.to_dict(), indent=None)
    else:
        indented = str(prediction).replace("\n", "\n  ")
        query = "" if prediction.query is None else f"{prediction.query}\n"
        output.write(f"{query}{prediction.text}\n  {indented}\n")
