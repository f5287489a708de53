"""A first configuration out of files of rows: what each column is, by its name and its values."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhead.system.shorten import counted
from polyhead_models.data import rows as files
from polyhead_models.data.formats.json_files import from_json
from polyhead_models.data.rows import FileLayout, Row
from polyhead_models.errors import DataError

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"

_TEXTS = ("text", "utterance", "sentence", "query", "message", "body", "content", "question")
_PAIRS = (
    ("question", "context"),
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("query", "passage"),
)
_VALIDATION, _TEST = {"validation", "valid", "val", "dev"}, {"test"}
_SOURCE = "rows"
_SHARE, _SAMPLE, _FEW_NUMBERS, _LONGEST_LABEL = 0.2, 10_000, 20, 60
_TAG = re.compile(r"O|[BIESLUM]-.+")

Columns = Mapping[str, Sequence[Any]]
"""The values of the sampled rows by column, None where a row has none."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A head.

    Attributes:
        kind: without its version.
        text: key of the text, or both of a pair.
        target: the column; None for two texts that belong together.
        why: what was seen.
        words: whether each tag is of its word alone.
    """

    kind: str
    text: tuple[str, ...]
    target: str | None
    why: str
    words: bool = False


def configuration(places: Sequence[Path], folder: Path, *, encoder: str = ENCODER) -> str:
    """The TOML for files of rows, with comments that say what was guessed.

    Args:
        places: files. A name with the word "validation", "valid", "val" or "dev" is of that split,
            one with "test" of the test split; all others are trained on.
        folder: where the TOML will stand; its paths are relative to that.
        encoder: its name.

    Raises:
        DataError: when a file cannot be read, none is to train on, or nothing in it can be learnt.
    """
    splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for place in places:
        words = set(re.findall("[a-z]+", place.stem.lower()))
        split = "validation" if words & _VALIDATION else "test" if words & _TEST else "train"
        splits[split].append(str(place))
    if not splits["train"]:
        raise DataError(f"{places[0]}: its name is that of a test; name a file to train on, too.")
    format = "squad" if _is_squad(Path(splits["train"][0])) else None
    unread: list[DataError] = []  # 'polyhead data' lists them all
    try:
        rows = files.read(splits["train"], format, FileLayout(refuse=unread.append))[:_SAMPLE]
    except DataError as problem:
        raise (unread or [problem])[0] from None
    heads, left = guesses(rows)
    files_of = {split: [os.path.relpath(p, folder) for p in own] for split, own in splits.items()}
    source: dict[str, Any] = {
        **{split: own[0] if len(own) == 1 else own for split, own in files_of.items()},
        "format": format,
        "validation_share": None if splits["validation"] else _SHARE,
    }
    sections = [
        f"# Guessed by 'polyhead init' from {counted(len(rows), 'row')}; the comments say why.\n"
        "# Correct what is wrong: 'polyhead data' shows what the rows hold.\n"
        + _table("encoder", {"name": encoder}),
        _table(f"data.{_SOURCE}", source, validation_share="no file was given for it"),
        *(_table(f"heads.{n}", _keys(h), kind=h.why) for n, h in _by_name(heads).items()),
        "# [training] is left out: its settings are chosen from the data.",
    ]
    if left:
        sections[-1] += f"\n# Columns that no head uses: {', '.join(map(_toml, left))}."
    return "\n\n".join(sections) + "\n"


def guesses(rows: Sequence[Row]) -> tuple[list[Guess], list[str]]:
    """The heads for rows, at least one, and the columns that are of no use.

    Raises:
        DataError: when there is no text, or nothing to learn from it.
    """
    names = list(dict.fromkeys(str(name) for row in rows for name in row.fields))
    columns = {name: [_value(row.fields.get(name)) for row in rows] for name in names}
    pair = next((p for p in _PAIRS if all(_is_text(columns.get(key, [])) for key in p)), None)
    text = pair or _text(columns)
    if text is None:
        raise DataError(
            f"{rows[0].where}: no column is a text; the columns are {', '.join(names)}. Give the"
            " texts as a text or a list of words, under the name 'text'."
        )
    found = {name: _guess(name, columns, text) for name in names if name not in text}
    heads = [head for head in found.values() if head is not None]
    if pair and not heads:
        why = "two texts that belong together"
        heads = [Guess(kind="embedding", text=pair, target=None, why=why)]
    if not heads:
        raise DataError(
            f"{rows[0].where}: nothing to learn beside {text[0]!r}: no column holds labels (alone"
            f" or in lists), spans, answers or numbers. The columns are {', '.join(names)}."
        )
    return heads, [name for name, head in found.items() if head is None]


def _value(cell: Any) -> Any:
    """Cells of csv files are texts, whatever they stand for: here lists and numbers."""
    is_json = isinstance(cell, str) and re.match(r"\[|-?\d", cell)
    return from_json(cell) if is_json else cell


def _is_text(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(v, str) or _is_words(v) for v in known)


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _text(columns: Columns) -> tuple[str, ...] | None:
    """The column of a usual name, or else that with the longest texts."""
    texts = [name for name, values in columns.items() if _is_text(values)]
    for name in _TEXTS:
        if name in texts:
            return (name,)
    plain = [n for n in texts if all(isinstance(v, str) for v in columns[n] if v is not None)]
    longest = max(plain, key=lambda name: sum(len(v or "") for v in columns[name]), default=None)
    return None if longest is None else (longest,)


def _guess(name: str, columns: Columns, text: tuple[str, ...]) -> Guess | None:
    """The head for a column; None where it is an id, free text or something else."""
    values = [value for value in columns[name] if value is not None]
    if not values or name.lower() in ("id", "_id", "idx", "uuid"):
        return None
    items = [item for value in values if isinstance(value, list) for item in value]
    if all(isinstance(value, list) for value in values) and items:
        return _listed(name, columns, text, items)
    distinct = len({str(value) for value in values})
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if numbers and (distinct > _FEW_NUMBERS or any(isinstance(v, float) for v in values)):
        kind = "regression"
        if len(text) == 2 and all(-1 <= value <= 1 for value in values):
            kind = "embedding"
        return Guess(kind=kind, text=text, target=name, why=f"{distinct:,} different numbers")
    short = all(isinstance(v, str | int) and len(str(v)) <= _LONGEST_LABEL for v in values)
    if short and 1 < distinct < 0.7 * len(values):
        why = f"{distinct:,} different values in {len(values):,} rows"
        return Guess(kind="classification", text=text, target=name, why=why)
    return None


def _listed(
    name: str, columns: Columns, text: tuple[str, ...], items: Sequence[Any]
) -> Guess | None:
    if all(isinstance(item, dict) for item in items):
        keys = set.intersection(*(set(item) for item in items))
        if keys >= {"label", "start", "end"} and len(text) == 1:
            return Guess(kind="tokens", text=text, target=name, why="spans with labels")
        if keys >= {"text", "start"} and len(text) == 2:
            return Guess(kind="answer", text=text, target=name, why="answers with their starts")
        return None
    if not all(isinstance(item, str | int) for item in items):
        return None
    of_words = [
        (words, value)
        for words, value in zip(columns[text[0]], columns[name], strict=True)
        if value is not None
    ]
    if len(text) == 1 and all(isinstance(w, list) and len(w) == len(v) for w, v in of_words):
        words = not all(_TAG.fullmatch(str(item)) for item in items)
        return Guess(kind="tokens", text=text, target=name, why="a tag a word", words=words)
    return Guess(kind="multilabel", text=text, target=name, why="lists of labels")


def _by_name(heads: Sequence[Guess]) -> dict[str, Guess]:
    """The heads by names that TOML takes, and that differ."""
    found: dict[str, Guess] = {}
    for head in heads:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", head.target or "similarity")
        numbered = (f"{plain}_{number}" for number in itertools.count(2))
        found[next(n for n in itertools.chain([plain], numbered) if n not in found)] = head
    return found


def _keys(head: Guess) -> dict[str, Any]:
    return {
        "kind": head.kind,
        "data": _SOURCE,
        "text": head.text[0] if len(head.text) == 1 else head.text,
        "target": head.target,
        "tags": "words" if head.words else None,
    }


def _table(name: str, keys: Mapping[str, Any], **comments: str) -> str:
    """A table of TOML without the keys that have no value."""
    lines = [f"[{name}]"]
    for key, value in keys.items():
        if value not in (None, []):
            comment = f"  # {comments[key]}" if key in comments else ""
            lines.append(f"{key} = {_toml(value)}{comment}")
    return "\n".join(lines)


def _is_squad(place: Path) -> bool:
    if place.suffix != ".json" or not place.is_file():
        return False
    whole = from_json(place.read_text(encoding="utf-8", errors="replace"))
    return isinstance(whole, dict) and isinstance(whole.get("data"), list)


def _toml(value: Any) -> str:
    """A number, a text or a list of texts; JSON's escapes are those of TOML."""
    return json.dumps(value, ensure_ascii=False)
