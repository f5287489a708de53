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
_ACTIVATIONS = {
    "Sigmoid": "multi_label_classification",
    "Identity": "regression",
    "Softmax": "single_label_classification",
}
_BEGIN_INSIDE = re.compile(r"([BI])-(.+)")
_OTHER_SCHEME = re.compile(r"[BIESLUM][-_].+|.+[-_][BIESLUM]", re.IGNORECASE)


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
        """The head with inputs of up to `max_tokens`; windows share a quarter of it.

        Raises:
            SourceError: when the options are for another kind, or labels or sizes do not fit.
        """
        if options.no_answer is not None and self.kind != "answer.v1":
            raise SourceError(f"--no-answer is for a model for questions; found a {self.kind}.")
        try:
            return HeadSpec(
                kind=self.kind,
                output=f"logits/{self.title(options)}",
                activation=NETWORKS[self.kind].activation,
                max_tokens=max_tokens,
                stride=max_tokens // 4,
                **self.fields,
            )
        except ValueError as problem:
            raise SourceError(str(problem)) from problem


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
    fields: dict[str, Any]
    if task == "answer":
        if count != 2:
            raise SourceError(f"{source.name}: {count} logits a token; a start and an end are 2.")
        if options.no_answer is None:
            logger.warning(
                "%s: always gives a span. Its files do not say whether it was trained on questions"
                " without answers; if it was, import it with --no-answer 0: there is none where"
                " its logits are above those of the best span.",
                source.name,
            )
        fields = {"input": "pair", "longest": LONGEST, "no_answer": options.no_answer}
        return HeadMeaning("answer.v1", fields)
    if task == "tokens":
        return _tags(_labels(source, count), source)
    stated = options.problem or _problem(source, count)
    if stated not in _KINDS:
        raise SourceError(
            f"{source.name}: problem_type: found {stated!r}, allowed: {', '.join(_KINDS)}."
        )
    if count == 1 and stated == "single_label_classification":
        raise SourceError(
            f"{source.name}: one logit cannot choose among labels. Import it with --answer labels"
            " for its sigmoid, or with --answer number for itself."
        )
    is_pair = options.pair or source.is_cross_encoder
    fields = {"input": "pair" if is_pair else "text"}
    if stated != "regression":
        fields["labels"] = _labels(source, count)
    elif count != 1:
        raise SourceError(f"{source.name}: regression with {count} numbers; polyhead supports one.")
    return HeadMeaning(_KINDS[stated], fields)


def _problem(source: Source, count: int) -> str:
    """What the logits are: as CrossEncoder takes them, else as the pipeline of transformers."""
    stated = source.config.get("problem_type")
    if (activation := source.activation) is not None:
        library, _, name = activation.rpartition(".")
        if name not in _ACTIVATIONS or not f"{library}.".startswith("torch.nn."):
            raise SourceError(
                f"{source.name}: activation_fn: found {activation}, allowed:"
                f" {', '.join(_ACTIVATIONS)} of torch.nn. Say with --answer what its logits are."
            )
        if name != "Identity" or count == 1:
            return _ACTIVATIONS[name]
    elif count == 1 and (stated != "regression" or source.is_cross_encoder):
        logger.warning(
            "%s: gives one logit, and its files do not say what it is; as the pipeline of"
            " transformers and CrossEncoder do, the sigmoid is its score. If the logit itself is"
            " meant, import it with --answer number; if it reads pairs of texts, with --pair.",
            source.name,
        )
        return "multi_label_classification"
    return str(stated or "single_label_classification")


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
    if any(_OTHER_SCHEME.fullmatch(tag) for tag in named):
        logger.warning(
            "%s: its tags are neither BIO nor plain labels; each is kept as a label of its own",
            source.name,
        )
    fields = {"labels": tuple(named), "scheme": "words" if outside is None else "io"}
    return HeadMeaning("tokens.v1", fields, (outside, *(places[tag] for tag in named)))
