"""Answer texts with a bundle: a page for people on a terminal, JSON lines otherwise.

Example:
  polyhead run bundle/ "Great phone, but the battery died in May."
  polyhead run bundle/ --input messages.jsonl --heads sentiment > answers.jsonl
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from polyhead.cli import output
from polyhead.errors import InvalidText

_CHUNK = 512


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead run`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("text", nargs="*", metavar="TEXT")
    parser.add_argument(
        "--input", metavar="FILE", help="JSON lines with a text each; '-' reads standard input"
    )
    parser.add_argument("--field", default="text", help="key of the text in a line (text)")
    parser.add_argument("--heads", nargs="+", metavar="HEAD", help="only these heads")
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
    from polyhead import load

    as_json = arguments.json or not sys.stdout.isatty()
    texts = iter(arguments.text) if arguments.text else _read(arguments.input, arguments.field)
    done = 0
    with load(
        arguments.bundle, threads=arguments.threads, on_overflow=arguments.on_overflow
    ) as engine:
        while chunk := list(itertools.islice(texts, _CHUNK)):
            for prediction in engine.predict(chunk, heads=arguments.heads):
                if as_json:
                    output.write_json(prediction.to_dict(), indent=None)
                else:
                    indented = str(prediction).replace("\n", "\n  ")
                    output.write(f"{prediction.text}\n  {indented}\n")
            done += len(chunk)
            if arguments.input is not None:
                output.progress(f"{done:,} texts")
    return 0


def _read(name: str, field: str) -> Iterator[str]:
    if name == "-":
        yield from _texts(sys.stdin, "standard input", field)
    else:
        with Path(name).open(encoding="utf-8") as lines:
            yield from _texts(lines, name, field)


def _texts(lines: Iterable[str], name: str, field: str) -> Iterator[str]:
    try:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _text(line, f"{name}:{number}", field)
    except UnicodeDecodeError as problem:
        raise InvalidText(f"{name}: not UTF-8: {problem}. Convert the file first.") from problem


def _text(line: str, where: str, field: str) -> str:
    try:
        row = json.loads(line)
    except ValueError as problem:
        raise InvalidText(f"{where}: not a JSON line: {problem}.") from problem
    text = row if isinstance(row, str) else row.get(field) if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise InvalidText(
            f"{where}: expected a JSON string, or an object with a text under {field!r}."
            " Name another key with --field."
        )
    return text
