"""What the logits of a model mean: kind, labels and order of a head."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from polyhead.errors import SourceError
from polyhead.heads import HeadSpec
from polyhead.heads.answer import LONGEST
from polyhead_models.heads import NETWORKS
from polyhead_models.importing.source import ImportOptions, Source

logger = logging.getLogger(__name__)

Task = Literal["sequence", "tokens", "answer", "embedding"]

NEVER = -1e4
"""Logit of a tag that the model does not have: its probability is 0, in half precision, too."""

_KINDS = {
    "single_label_classification": "classification.v1",
    "multi_label_classification": "multilabel.v1",
    "regression": "regression.v1",
}
_BEGIN_INSIDE = re.compile(r"([BI])-(.+)")
_OTHER_PREFIX = re.compile(r"[BIESLUM]-.+")


@dataclass(frozen=True)
class HeadMeaning:
    """What a head is.

    Attributes:
        kind: versioned name of its kind.
        fields: of its `HeadSpec`, those that the model decides.
        rows: for each logit the model's; None where it has none, and for the same order.
    """

    kind: str
    fields: Mapping[str, Any]
    rows: tuple[int | None, ...] | None = None

    def title(self, options: ImportOptions) -> str:
        """Its name."""
        return options.head or self.kind.partition(".")[0]

    def spec(self, options: ImportOptions, max_tokens: int) -> HeadSpec:
        """The head with inputs of up to `max_tokens`; windows share a quarter of it."""
        return HeadSpec(
            kind=self.kind,
            output=f"logits/{self.title(options)}",
            activation=NETWORKS[self.kind].activation,
            max_tokens=max_tokens,
            stride=max_tokens // 4,
            **self.fields,
        )


def meaning(source: Source, task: Task, count: int, options: ImportOptions) -> HeadMeaning:
    """What the logits of a classifier or a head for questions mean.

    Args:
        source: the model's files.
        task: what its class is for.
        count: of logits, a text or a token.
        options: what the files leave open.

    Raises:
        SourceError: when labels do not fit, or it is not said what they are.
    """
    if task == "answer":
        if count != 2:
            raise SourceError(f"{source.name}: {count} logits a token; a start and an end are 2.")
        return HeadMeaning("answer.v1", {"input": "pair", "longest": LONGEST})
    if task == "tokens":
        return _tags(_labels(source, count), source)
    stated = options.problem or source.config.get("problem_type")
    stated = stated or ("regression" if count == 1 else "single_label_classification")
    if stated not in _KINDS:
        raise SourceError(
            f"{source.name}: problem_type: found {stated!r}, allowed: {', '.join(_KINDS)}."
        )
    fields: dict[str, Any] = {"input": "pair" if options.pair else "text"}
    if stated != "regression":
        fields["labels"] = _labels(source, count)
    elif count != 1:
        raise SourceError(f"{source.name}: regression with {count} numbers; polyhead supports one.")
    return HeadMeaning(_KINDS[stated], fields)


def _labels(source: Source, count: int) -> tuple[str, ...]:
    """The labels in the order of the logits; without names they are numbered, and it is logged."""
    stated = source.config.get("id2label")
    numbered = tuple(f"LABEL_{i}" for i in range(count))
    found = numbered
    if stated:
        keys = {str(key) for key in stated} if isinstance(stated, Mapping) else set()
        if keys != {str(i) for i in range(count)}:
            raise SourceError(
                f"{source.name}: id2label: found {str(stated)[:60]}…, expected one label for each"
                f" of the {count} logits, 0 to {count - 1}."
            )
        found = tuple(str(stated[str(i)]) for i in range(count))
    if twice := [label for label in found if found.count(label) > 1]:
        raise SourceError(
            f"{source.name}: id2label: {twice[0]!r} is duplicated; rename one of them."
        )
    if found == numbered:
        logger.warning(
            "%s: config.json names no labels; they are called LABEL_0 and so on. Write id2label"
            " there and import again.",
            source.name,
        )
    return found


def _tags(found: Sequence[str], source: Source) -> HeadMeaning:
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
        return HeadMeaning("tokens.v1", {"labels": labels, "scheme": "iob"}, (outside, *pairs))
    if any(_OTHER_PREFIX.fullmatch(tag) for tag in named):
        logger.warning(
            "%s: its tags are neither BIO nor plain labels; each is kept as a label of its own",
            source.name,
        )
    fields = {"labels": tuple(named), "scheme": "words" if outside is None else "io"}
    return HeadMeaning("tokens.v1", fields, (outside, *(places[tag] for tag in named)))
