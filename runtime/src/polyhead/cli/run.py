"""Answer texts with a bundle: a page for people on a terminal, JSON lines otherwise.

A file has a text in each row: JSON lines (a string, a list of two for a pair, or an object), .csv
or .tsv with named columns, or .txt. An answer has the 'id' of its row, and the keys named by
--keep. With --output it goes to a file, whose lines are whole when the job is interrupted; an older
file stays until there is an answer.

Example:
  polyhead run bundle/ "Great phone, but the battery died in May."
  polyhead run bundle/ --input mails.csv --keep lang --output answers.csv --errors skip
  polyhead run bundle/ --input mails.jsonl --heads topic --top 3 --round 4 > answers.jsonl
  polyhead run bundle/ --pair "Who paid?" "Ann paid for Bo." --option answer.n=3
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from polyhead import Engine, InputError, InvalidSetting, PolyheadError, Prediction, load
from polyhead.cli import answers, output, texts
from polyhead.cli.answers import AnswerForm
from polyhead.cli.texts import TextRow
from polyhead.heads import DECODERS
from polyhead.system.lines import count_lines
from polyhead.system.shorten import counted
from polyhead.text.encoding import Input

_CHUNK = 512
_MOST_NAMED = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `polyhead run`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("text", nargs="*", type=_utf8, metavar="TEXT")
    _add_files(parser)
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
    parser.add_argument(
        "--top", type=int, metavar="N", help="of the scores in JSON, the N highest (all)"
    )
    parser.add_argument("--round", type=int, metavar="N", help="digits behind the point (all)")
    parser.add_argument("--threads", type=int, metavar="N", help="upper limit of worker threads")
    parser.add_argument("--json", action="store_true", help="JSON lines, on a terminal too")
    parser.add_argument(
        "--on-overflow",
        choices=["window", "truncate", "error"],
        default="window",
        help="what happens to a text longer than the encoder reads (window)",
    )
    parser.set_defaults(usage_error=parser.error)


def _add_files(parser: argparse.ArgumentParser) -> None:
    """Where texts come from and answers go."""
    parser.add_argument(
        "--input", metavar="FILE", help="texts: .jsonl, .csv, .tsv or .txt; '-' reads JSON lines"
    )
    parser.add_argument(
        "--field",
        type=_utf8,
        default="text",
        help="key of the text in a row (text); KEY,KEY reads a pair",
    )
    parser.add_argument(
        "--keep",
        type=lambda names: tuple(_utf8(names).split(",")),
        default=(),
        metavar="KEY,KEY",
        help="keys of a row that its answer has as well; 'id' is kept without",
    )
    parser.add_argument(
        "--output", type=output.table_file, metavar="FILE", help="answers: .jsonl or .csv"
    )
    parser.add_argument(
        "--errors",
        choices=["stop", "skip"],
        default="stop",
        help="a row that cannot be answered ends the job, or is left out and named at last (stop)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run `polyhead run`."""
    _check(arguments)
    form = AnswerForm(
        keep=arguments.keep,
        read=tuple(arguments.field.split(",")),
        digits=arguments.round,
    )
    rows, lines = _rows(arguments)
    heads = arguments.heads.split(",") if arguments.heads else None
    options = head_options(arguments.option)
    # Not one line of progress where answers go to the same terminal.
    alone = arguments.output is not None or not sys.stdout.isatty()
    page = sys.stdout.isatty() and not arguments.json
    done, left_out = 0, list[str]()
    with (
        load(
            arguments.bundle, threads=arguments.threads, on_overflow=arguments.on_overflow
        ) as engine,
        answers.opened(arguments.output, form, page=page) as write,
        output.ProgressLine(lines, shown=arguments.input is not None, rewrite=alone) as progress,
    ):
        if arguments.top is not None:
            for name, spec in engine.heads.items():
                if "top" in getattr(DECODERS[spec.kind], "options", ()):
                    options.setdefault(name, {}).setdefault("top", arguments.top)
        asked = {"heads": heads, "options": options}
        while chunk := list(itertools.islice(rows, _CHUNK)):
            skip = left_out if arguments.errors == "skip" else None
            for row, prediction in _answered(engine, chunk, asked, skip):
                write(row, prediction)
                done += 1
            progress.update(done + len(left_out), chunk[-1].line)
        if left_out and not done:
            raise InputError(_named(left_out))
    if left_out:
        output.complain(f"polyhead run: {_named(left_out)}")
    return 0


def _named(left_out: Sequence[str]) -> str:
    """How many rows were left out, and the first of them."""
    more = [f"… and {len(left_out) - _MOST_NAMED:,} more"] if left_out[_MOST_NAMED:] else []
    lines = (f"\n  {line}" for line in (*left_out[:_MOST_NAMED], *more))
    return f"left out {counted(len(left_out), 'row')}:{''.join(lines)}"


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what does not go together, before anything is loaded."""
    target = arguments.output
    if bool(arguments.text) == (arguments.input is not None):
        arguments.usage_error("give either TEXT or --input FILE")
    if arguments.pair and (arguments.input is not None or len(arguments.text) % 2):
        arguments.usage_error("--pair needs TEXT TEXT; in a file, a pair is a list of two texts")
    if target is not None and arguments.input is not None and _same(target, Path(arguments.input)):
        arguments.usage_error(f"--output {target}: is the file of --input")
    for name, value, least in (("top", arguments.top, 1), ("round", arguments.round, 0)):
        if value is not None and value < least:
            arguments.usage_error(f"--{name}: expected at least {least}")


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _rows(arguments: argparse.Namespace) -> tuple[Iterator[TextRow], int | None]:
    """What is asked, and how many lines its file has; None for what is no file."""
    if arguments.input is not None:
        path = Path(arguments.input)
        known = count_lines(path) if path.is_file() else None
        return texts.rows(arguments.input, arguments.field, arguments.keep), known
    given: list[Input] = arguments.text
    if arguments.pair:
        given = list(zip(arguments.text[::2], arguments.text[1::2], strict=True))
    return (TextRow(f"TEXT {n}", item) for n, item in enumerate(given, start=1)), None


def _answered(
    engine: Engine, chunk: Sequence[TextRow], asked: dict[str, Any], left_out: list[str] | None
) -> Iterator[tuple[TextRow, Prediction]]:
    """Rows with their answers; without `left_out`, the first that has none is an error."""
    good, inputs = list[TextRow](), list[Input]()
    for row in chunk:
        if not isinstance(row.text, InputError):
            good.append(row)
            inputs.append(row.text)
        elif left_out is None:
            raise row.text
        else:
            left_out.append(str(row.text))
    try:
        found: Sequence[Prediction | PolyheadError] = (
            engine.predict(inputs, **asked)
            if left_out is None
            else engine.predict(inputs, errors="return", **asked)
        )
    except InputError as problem:
        if problem.index is None:
            raise
        raise _at(good[problem.index].where, problem) from problem
    for row, answer in zip(good, found, strict=True):
        if isinstance(answer, Prediction):
            yield row, answer
        elif left_out is not None:
            left_out.append(str(_at(row.where, answer)))


def _at(where: str, problem: PolyheadError) -> InputError:
    """The error with its place in the file for that in a list."""
    return InputError(f"{where}: " + re.sub(r"^input \d+: ", "", str(problem)))


def _utf8(argument: str) -> str:
    """An argument in UTF-8, which Python has read in the locale's encoding."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeError:
        return argument


def head_options(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``summary.k=2`` as ``{"summary": {"k": 2}}``; a value is JSON, True, False, or a text."""
    found: dict[str, dict[str, Any]] = {}
    for item in given:
        place, equals, value = item.partition("=")
        head, dot, name = place.rpartition(".")
        if not (equals and dot and head and name):
            raise InvalidSetting(f"--option {item}: expected HEAD.NAME=VALUE, as in summary.k=2.")
        try:
            setting = json.loads({"True": "true", "False": "false"}.get(value, value))
        except (ValueError, RecursionError):
            setting = value
        found.setdefault(head, {})[name] = setting
    return found
