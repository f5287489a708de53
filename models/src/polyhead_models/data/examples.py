"""Rows into examples: a text and what each head should answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhead.errors import nearest
from polyhead_models.config import Config, HeadConfig
from polyhead_models.data import rows as files
from polyhead_models.data.rows import Row
from polyhead_models.errors import DataError
from polyhead_models.heads import NETWORKS


@dataclass(frozen=True, slots=True)
class Example:
    """One text with its references.

    Attributes:
        where: ``file:line``.
        source: name of the source.
        text: what the encoder reads.
        references: by head, in the head's reference form; heads without a target are absent.
    """

    where: str
    source: str
    text: str
    references: Mapping[str, Any]


def load(config: Config, split: str) -> list[Example]:
    """All examples of a split, over all sources; heads that read the same text share an example.

    A source without that split gives none.

    Raises:
        DataError: when a file cannot be read, a row has no text, or a target has not the form that
            its head expects; names file and line.
    """
    examples: list[Example] = []
    for source, data in config.data.items():
        path = data.path(split)
        heads = {name: head for name, head in config.heads.items() if head.data == source}
        if path is None or not heads:
            continue
        rows = files.read(Path(path), data.format)
        for field in dict.fromkeys(head.text for head in heads.values()):
            same = {name: head for name, head in heads.items() if head.text == field}
            for row in rows:
                examples.append(_example(row, source, field, same))
        _require_targets(heads, examples, source, path)
    return examples


def labels(config: Config, examples: Iterable[Example]) -> dict[str, tuple[str, ...]]:
    """The labels of every head, in the order of its logits, from the training examples."""
    found: dict[str, list[Any]] = {name: [] for name in config.heads}
    for example in examples:
        for head, reference in example.references.items():
            found[head].append(reference)
    return {
        name: NETWORKS[head.versioned_kind].labels(found[name])
        for name, head in config.heads.items()
    }


def check(config: Config, examples: Iterable[Example], known: Mapping[str, Sequence[str]]) -> None:
    """Refuse examples with labels that training did not see; heads not in `known` are passed over.

    Raises:
        DataError: names file, line and label.
    """
    for example in examples:
        for name, reference in example.references.items():
            if name not in known:
                continue
            try:
                NETWORKS[config.heads[name].versioned_kind].check(reference, known[name])
            except ValueError as problem:
                raise DataError(f"{example.where}: head {name!r}: {problem}") from problem


def _example(row: Row, source: str, field: str, heads: Mapping[str, HeadConfig]) -> Example:
    words, text = _text(row, field)
    references = {}
    for name, head in heads.items():
        raw = row.fields.get(head.target or "")
        if raw is None:
            continue
        if words is not None and raw and isinstance(raw, list) and isinstance(raw[0], str):
            raw = _spans_of_tags(words, raw, row.where)
        try:
            network = NETWORKS[head.versioned_kind]
            references[name] = network.reference(raw, text)
        except ValueError as problem:
            raise DataError(f"{row.where}: {head.target!r}: {problem}.") from problem
    return Example(row.where, source, text, references)


def _text(row: Row, field: str) -> tuple[list[str] | None, str]:
    """The words (None for a plain text) and the text; words are joined by one space."""
    value = row.fields.get(field)
    if isinstance(value, str) and value.strip():
        return None, _unicode(value, row, field)
    if isinstance(value, list) and value and all(isinstance(w, str) and w for w in value):
        return value, _unicode(" ".join(value), row, field)
    if field not in row.fields:
        raise DataError(
            f"{row.where}: no key {field!r}; the row has {', '.join(map(str, row.fields))}."
            + nearest(field, map(str, row.fields))
        )
    raise DataError(f"{row.where}: {field!r}: found {value!r}, expected a text or a list of words.")


def _unicode(text: str, row: Row, field: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise DataError(
            f"{row.where}: {field!r}: a lone surrogate at character {problem.start}, which is no"
            " Unicode text. Convert the file again."
        ) from problem
    return text


def _spans_of_tags(words: Sequence[str], tags: Sequence[str], where: str) -> list[dict[str, Any]]:
    """BIO tags on words into character spans of the words joined by one space."""
    if len(tags) != len(words):
        raise DataError(f"{where}: found {len(tags)} tags for {len(words)} words.")
    spans: list[dict[str, Any]] = []
    start, open_label = 0, None
    for word, tag in zip(words, tags, strict=True):
        prefix, _, label = tag.partition("-") if isinstance(tag, str) else ("", "", "")
        if tag != "O" and (prefix not in ("B", "I") or not label):
            raise DataError(f"{where}: found the tag {tag!r}, expected O, B-LABEL or I-LABEL.")
        if prefix == "I" and open_label == label:
            spans[-1]["end"] = start + len(word)
        elif tag != "O":
            spans.append({"label": label, "start": start, "end": start + len(word)})
        open_label = label if tag != "O" else None
        start += len(word) + 1
    return spans


def _require_targets(
    heads: Mapping[str, HeadConfig], examples: Iterable[Example], source: str, path: str
) -> None:
    seen = {name for e in examples if e.source == source for name in e.references}
    for name, head in heads.items():
        if name not in seen:
            raise DataError(f"{path}: no row has a target {head.target!r} for the head {name!r}.")
