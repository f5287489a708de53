"""What the labels of a configuration of transformers mean for a head."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from polyhead.errors import SourceError

_BEGIN_INSIDE = re.compile(r"([BI])-(.+)")
_OTHER_PREFIX = re.compile(r"[BIESLUM]-.+")


@dataclass(frozen=True)
class Tags:
    """Tags of tokens in the order that a head of kind tokens has.

    Attributes:
        labels: the head's labels.
        scheme: see `HeadSpec.scheme`.
        rows: for each logit of the head the model's; None where the model has none.
        note: what the user should know; None for nothing.
    """

    labels: tuple[str, ...]
    scheme: Literal["bio", "iob", "io", "words"]
    rows: tuple[int | None, ...]
    note: str | None = None


def read(config: Mapping[str, Any], count: int, *, where: str) -> tuple[tuple[str, ...], bool]:
    """The labels in the order of the logits, and whether they are names that somebody gave.

    Args:
        config: the plain form of config.json.
        count: of logits.
        where: the place to name in messages.

    Raises:
        SourceError: when there are labels, but not one for each logit, or one stands twice.
    """
    stated = config.get("id2label")
    invented = tuple(f"LABEL_{i}" for i in range(count))
    if not stated:
        return invented, False
    numbered = isinstance(stated, Mapping) and {str(key) for key in stated} == {
        str(i) for i in range(count)
    }
    if not numbered:
        raise SourceError(
            f"{where}: id2label: found {str(stated)[:60]}…, expected one label for each of the"
            f" {count} logits, 0 to {count - 1}."
        )
    found = tuple(str(stated[str(i)]) for i in range(count))
    if twice := [label for label in found if found.count(label) > 1]:
        raise SourceError(f"{where}: id2label: {twice[0]!r} stands twice; rename one of them.")
    return found, found != invented


def tags(found: Sequence[str]) -> Tags:
    """Tags as transformers lists them into the layout of a head of kind tokens.

    Whether I- may begin a span (IOB1) cannot be told from the tags; it may, as in the pipeline of
    transformers. Tags without B- and I- are labels as they are: of spans where there is an O, else
    of words.
    """
    places = {tag: i for i, tag in enumerate(found)}
    named = [tag for tag in found if tag != "O"]
    parsed = [_BEGIN_INSIDE.fullmatch(tag) for tag in named]
    outside = places.get("O")
    if named and all(parsed):
        labels = tuple(dict.fromkeys(match[2] for match in parsed if match))
        pairs = (places.get(f"{prefix}-{label}") for label in labels for prefix in "BI")
        return Tags(labels, "iob", (outside, *pairs))
    note = None
    if any(_OTHER_PREFIX.fullmatch(tag) for tag in named):
        note = "its tags are neither BIO nor plain labels; each is kept as a label of its own"
    scheme: Literal["io", "words"] = "words" if outside is None else "io"
    return Tags(tuple(named), scheme, (outside, *(places[tag] for tag in named)), note)
