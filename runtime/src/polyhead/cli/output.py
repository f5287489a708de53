"""Results on stdout, progress on stderr: UTF-8, whatever the locale, and never a control code."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import re
import sys
import textwrap
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from polyhead.errors import PolyheadError
from polyhead.system.shorten import counted

_LOGGERS = ("polyhead", "polyhead_models", "polyhead_export", "polyhead_bench")
_log = logging.getLogger(__name__)
_PATIENCE = 10.0  # seconds between two lines of progress
_WIDTH = 80

# A stranger's label may hold what a terminal obeys.
_IN_CELL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_IN_TEXT = {code: shown for code, shown in _IN_CELL.items() if chr(code) not in "\n\t"}
# What JSON leaves, and the ends of lines for some who read lines.
_IN_JSON = {code: f"\\u{code:04x}" for code in (*range(127, 160), 0x2028, 0x2029)}


class _ReaderGone(Exception):
    """Whoever reads this process's stdout went away."""


def use_utf8() -> None:
    """Write UTF-8 from here on, as files are. A stream that the caller closed becomes an empty one.

    What is no Unicode, as a file's name may be, is shown by its numbers.
    """
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and name != "stdin":
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


@contextmanager
def log_to_stderr(*, quiet: bool = False) -> Iterator[None]:
    """Show what polyhead's distributions log in the block, as plain lines on stderr.

    Args:
        quiet: warnings only, no progress.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Line())
    level = logging.WARNING if quiet else logging.INFO
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, own in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(own)


def write(text: str) -> None:
    """One result, as text, to stdout."""
    with _read():
        sys.stdout.write(text.translate(_IN_TEXT) + "\n")


def write_json(value: Any, *, indent: int | None = 1) -> None:
    """One result, as JSON, to stdout; with `indent=None` on one line, for all who read lines."""
    line = as_json(value, indent=indent)
    with _read():
        sys.stdout.write(line + "\n")


def as_json(value: Any, *, indent: int | None = None) -> str:
    """JSON in which no character ends a line for anybody, or does something to a terminal."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    return text.translate(_IN_JSON)


def reported(name: str, work: Callable[[], int]) -> int:
    """The exit code of `work`: 1 for an error that polyhead or the system names, told on stderr.

    0 where whoever read the results (`head`, say) went away.

    Args:
        name: of the command, for the message.
        work: writes results, and gives an exit code.
    """
    try:
        code = work()
        with _read():
            sys.stdout.flush()  # here, where a full disk or a closed pipe is still answered
        return code
    except _ReaderGone:
        return 0
    except (PolyheadError, OSError) as problem:
        complain(f"{name}: {problem}")
        return 1
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # Python would complain of what is left when it flushes at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Why a command ends, to stderr."""
    sys.stderr.write(text.translate(_IN_TEXT) + "\n")


def progress(text: str) -> None:
    """A line of progress, as a message of the log."""
    _log.info("%s", text)


def table_file(name: str) -> Path:
    """A file that rows are written to, for `argparse`."""
    path = Path(name)
    if path.suffix.lower() not in (".jsonl", ".csv"):
        raise argparse.ArgumentTypeError(f"{name}: expected a name that ends in .jsonl or .csv")
    return path


class ProgressLine:
    """How far a job is, how fast, and how long it still takes: on stderr, as far as it may.

    On a terminal one line is written again and again; elsewhere there is a line now and then.
    """

    def __init__(
        self,
        lines: int | None,
        *,
        shown: bool = True,
        rewrite: bool = True,
        word: str = "text",
    ) -> None:
        """Begin to count.

        Args:
            lines: of the file that is read; None where nobody knows.
            shown: False for no line at all.
            rewrite: whether one line may be written again and again.
            word: what is counted.
        """
        self._word = word
        self._lines, self._begun, self._last = lines, time.monotonic(), 0.0
        self._shown = shown and _log.isEnabledFor(logging.INFO)
        self._rewrite = rewrite and sys.stderr.isatty()
        self._texts, self._width = 0, 0

    def update(self, texts: int, line: int, lines: int | None = None) -> None:
        """So many texts were done, and the file was read up to this line, of `lines` if given."""
        self._lines = self._lines if lines is None else lines
        self._texts = texts
        seconds = time.monotonic() - self._begun
        told = f"{counted(texts, self._word)}, {texts / max(seconds, 1e-3):,.0f}/s"
        if self._lines is not None and line:
            share = min(1.0, line / self._lines)
            told += f", {share:.0%}, {_clock(seconds / share - seconds)} left"
        if self._rewrite or seconds - self._last >= _PATIENCE:
            self._last = seconds
            self._tell(told)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """All was done, where no error ended it."""
        if kind is None and self._texts:
            seconds = time.monotonic() - self._begun
            rate = self._texts / max(seconds, 1e-3)
            self._tell(f"{counted(self._texts, self._word)} in {_clock(seconds)}, {rate:,.0f}/s")
            if self._shown and self._rewrite:
                sys.stderr.write("\n")

    def _tell(self, text: str) -> None:
        if self._shown and self._rewrite:
            sys.stderr.write(f"\r{text:<{self._width}}")
            sys.stderr.flush()
            self._width = len(text)
        elif self._shown:
            progress(text)


def _clock(seconds: float) -> timedelta:
    """Shown as ``0:00:19``."""
    return timedelta(seconds=round(seconds))


def listed(values: Iterable[object]) -> str:
    """Values in a sentence: ``1, 8 and 64``."""
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns of equal width; numbers are set to the right, CJK counts as two columns wide."""
    cells = [[_cell(value).translate(_IN_CELL) for value in row] for row in rows]
    widths = [max(_width(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    lines = [list(header), ["-" * width for width in widths], *cells]
    return "\n".join(
        "  ".join(
            _pad(value, width, flush)
            for value, width, flush in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def paragraph(text: str, indent: str = "") -> str:
    """A text in lines of 80 columns, broken at blanks, each with an indent."""
    lines = textwrap.wrap(
        text.translate(_IN_CELL),
        width=_WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; columns of numbers are set to the right, cells are shown as they are."""
    rows = list(rows)
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    lines = [
        [name.replace("|", "\\|") for name in header],
        ["---:" if flush else "---" for flush in right],
        *([as_markdown(_cell(value)) for value in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_MARKUP = re.compile(r"[\\`*\[|~$]|<(?=[A-Za-z/!?])|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")


def as_markdown(text: str) -> str:
    """A text in one line of Markdown that shows it as it is; line ends become blanks."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.splitlines()))


@contextmanager
def _read() -> Iterator[None]:
    """Another pipe than stdout's may break, too: that is an error."""
    try:
        yield
    except BrokenPipeError as problem:
        raise _ReaderGone from problem


class _Line(logging.Formatter):
    """A message of the log as a plain line."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).translate(_IN_TEXT)


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
