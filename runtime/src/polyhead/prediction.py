"""What an engine returns for one text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from itertools import islice
from typing import Any

import numpy as np

from polyhead.bundle.head_spec import unknown_head
from polyhead.errors import MissingExtra, PolyheadError
from polyhead.heads.base import Result
from polyhead.heads.markup import highlighted, marks
from polyhead.system.shorten import cut

# Of a prediction in a notebook or a debugger: characters in a line, and heads.
_WIDTH, _MOST_HEADS = 88, 12
# Columns of a table that are no head's.
_TAKEN = ("query", "text", "error")


@dataclass(frozen=True, slots=True)
class Prediction(Mapping[str, Any]):
    """The results of all asked heads for one text, by head name.

    In a notebook it is shown as the text with its spans in colour, and a line a head.

    Attributes:
        text: the caller's string, untouched; of a pair the second one.
        results: by head name, in the engine's order.
        tokens: tokens that the encoder read, special tokens included.
        windows: windows that the text was read in.
        truncated: True when the end of the text was left out on the caller's demand.
        query: the first text of a pair; None for a single text.
        answered_by: of a cascade, by head which model gave the answer: ``"student"`` or
            ``"teacher"``; empty for other engines.
    """

    text: str
    results: Mapping[str, Result]
    tokens: int
    windows: int = 1
    truncated: bool = False
    query: str | None = None
    answered_by: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, head: str) -> Any:
        try:
            return self.results[head]
        except KeyError:
            raise unknown_head(head, self.results, "this prediction") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def utf16(self) -> Prediction:
        """The same prediction with all offsets in UTF-16 code units, for JavaScript.

        There ``text.slice(start, end)`` is then the text of a span. Call it once: a second call
        would take the new offsets for code points.
        """
        place = utf16_offsets(self.text)
        results: dict[str, Result] = {}
        for name, result in self.results.items():
            moved = getattr(result, "with_offsets", None)
            results[name] = result if moved is None else moved(place)
        return replace(self, results=results)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            **({} if self.query is None else {"query": self.query}),
            "text": self.text,
            "tokens": self.tokens,
            "windows": self.windows,
            "truncated": self.truncated,
            "heads": {name: result.to_dict() for name, result in self.results.items()},
            **({"answered_by": dict(self.answered_by)} if self.answered_by else {}),
        }

    def to_row(self) -> dict[str, Any]:
        """One row of a table: `query` for a pair, `text`, then the columns of each head.

        The first value of a head's `to_dict` is called after the head, each other one that is a
        number or a text `HEAD_NAME`; unless another head has that name. The first of a head called
        `query`, `text` or `error` is `HEAD_NAME`, too. A head `h` of the kind
        classification has the label as `h`, and `h_score`; multilabel the list of labels;
        regression the number; tokens the list of spans, each a dict; answer the text, empty without
        an answer, and `h_start`, `h_end`, `h_score` and `h_no_answer`; summary the list of
        sentences; compress the text; embedding the list of numbers; generation the text, and
        `h_score`, `h_tokens`, `h_finished` and `h_truncated`.
        """
        row: dict[str, Any] = {} if self.query is None else {"query": self.query}
        row["text"] = self.text
        for name, result in self.results.items():
            for number, (attribute, value) in enumerate(result.to_dict().items()):
                key = f"{name}_{attribute}" if number or name in _TAKEN else name
                if not number or (key not in self.results and not isinstance(value, dict | list)):
                    row[key] = value
        return row

    def __str__(self) -> str:
        width = max((len(name) for name in self.results), default=0)
        return "\n".join(f"{name:<{width}}  {result}" for name, result in self.results.items())

    def __repr__(self) -> str:
        texts = [self.text] if self.query is None else [self.query, self.text]
        shown = ", ".join(repr(cut(text, (_WIDTH - 30) // len(texts))) for text in texts)
        some = dict(islice(self.results.items(), _MOST_HEADS))
        width = max(map(len, some), default=0)
        room = max(20, _WIDTH - width - 4)
        lines = [f"  {name:<{width}}  {cut(str(each), room)}" for name, each in some.items()]
        if len(some) < len(self):
            lines.append(f"  … ({len(self)} heads)")
        return "\n".join([f"Prediction({shown}, {self._size})", *lines])

    @property
    def _size(self) -> str:
        """How much was read, in words."""
        found = f"{self.tokens} tokens"
        if self.windows > 1:
            found += f" in {self.windows} windows"
        return found + (", the end left out" if self.truncated else "")

    def _repr_html_(self) -> str:
        """The text with its spans in colour and a line a head, for Jupyter and its like."""
        data = self.to_dict()["heads"]
        found = [mark for name, each in data.items() for mark in marks(self.text, name, each)]
        cell = 'style="text-align:left;vertical-align:top;padding:.1em .8em .1em 0"'
        answers = ((escape(n), escape(cut(str(each), 300))) for n, each in self.results.items())
        rows = "".join(f"<tr><th {cell}>{n}</th><td {cell}>{a}</td></tr>" for n, a in answers)
        query = "" if self.query is None else f"<div><i>{highlighted(self.query, ())}</i></div>"
        return (
            '<div dir="auto" style="max-width:60em;line-height:1.9;white-space:pre-wrap;'
            f'overflow-wrap:anywhere">{query}{highlighted(self.text, found)}</div>'
            f'<table style="border-collapse:collapse;margin:.5em 0">{rows}</table>'
            f'<div style="opacity:.7;font-size:85%">{self._size}</div>'
        )

    def _ipython_key_completions_(self) -> list[str]:
        """What a notebook offers after ``prediction["``."""
        return list(self.results)


def to_pandas(predictions: Iterable[Prediction | PolyheadError | None]) -> Any:
    """A `pandas.DataFrame` with a row for each prediction, in their order; see `Prediction.to_row`.

    Args:
        predictions: what `Engine.predict` returned. Of an error, with ``errors="return"``, the row
            has its message in the column `error`, which is the last; of a text that was not wanted
            the row is empty.

    Raises:
        MissingExtra: when pandas is not installed.
    """
    try:
        import pandas
    except ImportError as problem:
        raise MissingExtra(
            "pandas is not installed, and polyhead.to_pandas makes tables of it. Run"
            " 'pip install pandas', or use the dicts of Prediction.to_row()."
        ) from problem
    given = [predictions] if isinstance(predictions, Prediction) else list(predictions)
    rows = [each.to_row() if isinstance(each, Prediction) else {} for each in given]
    table = pandas.DataFrame(rows)
    errors = [str(each) if isinstance(each, PolyheadError) else None for each in given]
    if any(errors):
        table["error"] = errors
    return table


def utf16_offsets(text: str) -> Callable[[int], int]:
    """A function that turns an offset in code points of `text` into one in UTF-16 code units.

    JavaScript, Java and C# count in these. Characters above U+FFFF, such as most emoji, are two
    units, all others one. The function takes 0 to ``len(text)``.
    """
    if text.isascii() or max(text) <= "\uffff":
        return lambda offset: offset
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    pairs = np.concatenate([[0], np.cumsum(points > 0xFFFF)])
    return lambda offset: offset + int(pairs[offset])
