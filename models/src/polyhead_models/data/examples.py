"""Rows into examples: a text and what each head should answer."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from polyhead.errors import nearest
from polyhead.system.shorten import counted, first
from polyhead.text.encoding import Input
from polyhead_models.config import Config, HeadConfig
from polyhead_models.data import sources
from polyhead_models.data.bad_rows import BadRows
from polyhead_models.data.formats.json_files import from_json
from polyhead_models.data.rows import Row
from polyhead_models.data.tagging import Words
from polyhead_models.errors import DataError
from polyhead_models.heads import NETWORKS

logger = logging.getLogger(__name__)

_SHOWN = 10
"""Labels in a message."""


@dataclass(frozen=True, slots=True)
class Example:
    """One text with its references.

    Attributes:
        where: ``file:line``.
        source: name of the source.
        text: what the encoder reads: a text or a pair.
        references: by head, in the head's reference form; heads without a target are absent.
        twin: a second text, an input by itself, for heads that learn from two; None for others.
        blank_edges: by head, spans of the row whose blanks at an edge the reference leaves out.
        fields: all that the row says, by key.
    """

    where: str
    source: str
    text: Input
    references: Mapping[str, Any]
    twin: str | None = None
    blank_edges: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What the encoder reads: the text, and its twin if any."""
        return (self.text,) if self.twin is None else (self.text, self.twin)

    def cell(self, column: str) -> str | None:
        """What the row says in a column; None where it says nothing."""
        value = self.fields.get(column)
        return None if value in (None, "") else str(value)


def load(config: Config, split: str, bad: BadRows | None = None) -> list[Example]:
    """All examples of a split, over all sources; heads that read the same text share an example.

    A source without that split gives none.

    Args:
        config: names the sources and what each head reads.
        split: of every source.
        bad: takes the rows that cannot be used; None refuses them here, all in one error.

    Raises:
        DataError: when a file cannot be read, a row has no text, or a target has not the form that
            its head expects; names file and line.
    """
    if bad is None:
        with BadRows() as bad:
            return load(config, split, bad)
    examples: list[Example] = []
    for source, data in config.data.items():
        if any(head.data == source for head in config.heads.values()):
            rows = sources.load(data, split, bad)
            examples += of_source(config, source, split, rows, bad)
    return examples


def of_source(
    config: Config, source: str, split: str, rows: Sequence[Row], bad: BadRows
) -> list[Example]:
    """The examples of one source's rows; no rows give none.

    Raises:
        DataError: as `load` does; for bad rows only when `bad` is full.
    """
    data = config.data[source]
    heads = {name: head for name, head in config.heads.items() if head.data == source}
    readers: dict[Any, dict[str, HeadConfig]] = {}
    for name, head in heads.items():
        readers.setdefault((head.keys, head.input), {})[name] = head
    examples = []
    for (keys, _), same in readers.items():
        for key in keys:  # a key that no row has is one mistake, not one for each row
            if rows and not any(key in row.fields for row in rows):
                _text(rows[0], key, data.joiner)
        for row in rows:
            try:
                examples.append(_example(row, source, same, data.joiner))
            except DataError as problem:
                bad.add(problem, skip=data.skip_bad_rows)
    if rows and heads and not examples:
        raise DataError(f"{sources.shown(data, split)}: no row of {len(rows)} can be used.")
    answered = {name for example in examples for name in example.references}
    for name, head in heads.items():
        if examples and name not in answered:
            known = dict.fromkeys(str(key) for row in rows for key in row.fields)
            raise DataError(
                f"{sources.shown(data, split)}: no row has a target {head.target!r} for the head"
                f" {name!r}; the keys are {', '.join(map(repr, known))}."
            )
    return examples


def references(config: Config, examples: Iterable[Example]) -> dict[str, list[Any]]:
    """The references of every head, in the order of the examples; empty for one without targets."""
    found: dict[str, list[Any]] = {name: [] for name in config.heads}
    for example in examples:
        for head, reference in example.references.items():
            found[head].append(reference)
    return found


def seen(
    config: Config, examples: Iterable[Example], known: Mapping[str, Sequence[str]]
) -> list[Example]:
    """The examples without the labels that training lacks, or as each head's `unseen` has it.

    An example that has no reference left is left out.

    Args:
        config: of the heads.
        examples: of the validation or test split.
        known: labels by head; other heads are passed over.

    Raises:
        DataError: for a label that is an error; names file, line and label.
    """
    sets = {name: frozenset(labels) for name, labels in known.items()}
    dropped: dict[str, Counter[str]] = {}
    found = []
    for example in examples:
        references = dict(example.references)
        for name in [name for name in sets if name in references]:
            network, own = NETWORKS[config.heads[name].versioned_kind], references[name]
            unseen = [label for label in network.labels_of(own) if label not in sets[name]]
            if unseen and config.heads[name].unseen == "error":
                raise DataError(
                    f"{example.where}: head {name!r}: no row that it learns from has the label"
                    f" {unseen[0]!r}.{nearest(unseen[0], known[name])} Correct this row, leave such"
                    f' labels out with unseen = "drop" under [heads.{name}], or train with rows'
                    " that have it."
                )
            if unseen:
                dropped.setdefault(name, Counter()).update(unseen)
                left = network.seen(own, sets[name])
                if left is None:
                    del references[name]
                else:
                    references[name] = left
        if references or not example.references:
            found.append(replace(example, references=references))
    for name, labels in dropped.items():
        shown = first([f"{label!r} {count}" for label, count in labels.most_common()], _SHOWN)
        count = counted(labels.total(), "label")
        logger.warning("%s: left out %s that the head has not learnt: %s", name, count, shown)
    return found


def _example(row: Row, source: str, heads: Mapping[str, HeadConfig], joiner: str) -> Example:
    """The example of a row for heads that all read the same."""
    one = next(iter(heads.values()))
    texts = [_text(row, key, joiner) for key in one.keys]
    (_, first), (words, text) = texts[0], texts[-1]
    references, blank_edges = {}, {}
    for name, head in heads.items():
        network = NETWORKS[head.versioned_kind]
        # Without a target, two texts that learn together belong together.
        raw = True if head.target is None else row.fields.get(head.target)
        if raw is None:
            continue
        if network.listed and isinstance(raw, str):
            raw = from_json(raw)
        try:
            if words is not None:
                raw = network.on_words(raw, words, head.tags)
            if head.summaries is not None:
                raw = {"sentences": raw, "summaries": row.fields.get(head.summaries)}
            references[name] = network.reference(raw, text)
            if count := network.blank_edges(raw, text):
                blank_edges[name] = count
            for label in network.labels_of(references[name]):
                _unicode(label, row, str(head.target))
        except ValueError as problem:
            raise DataError(f"{row.where}: {head.target!r}: {problem}.") from problem
    pair = one.input == "pair"
    return Example(
        where=row.where,
        source=source,
        text=(first, text) if pair else first,
        references=references,
        twin=None if pair or len(texts) == 1 else text,
        blank_edges=blank_edges,
        fields=row.fields,
    )


def _text(row: Row, field: str, joiner: str) -> tuple[Words | None, str]:
    """The words (None for a plain text) and the text.

    Words of no characters stay among the words, where they may have a tag.
    """
    value = row.fields.get(field)
    if isinstance(value, str) and value.strip():
        return None, _unicode(value, row, field)
    if isinstance(value, list) and any(value) and all(isinstance(w, str) for w in value):
        words = Words(value, joiner)
        return words, _unicode(words.text, row, field)
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


def _require_targets(
    heads: Mapping[str, HeadConfig], examples: Iterable[Example], rows: Sequence[Row], path: str
) -> None:
    keys = dict.fromkeys(str(key) for row in rows for key in row.fields)
    seen = {name for e in examples for name in e.references}
    for name, head in heads.items():
        if name not in seen:
            raise DataError(
                f"{path}: no row has a target {head.target!r} for the head {name!r}; the keys are"
                f" {', '.join(map(repr, keys))}."
            )
