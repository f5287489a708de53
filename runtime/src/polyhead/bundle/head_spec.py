"""What a bundle or a checkpoint says about one head."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal

from polyhead.bundle.generation import Generation
from polyhead.errors import UnknownHead, nearest
from polyhead.system import schema

_COLDEST, _HOTTEST = 0.01, 100.0


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """One head, as `manifest.json` and `polyhead.json` write it.

    Attributes:
        kind: versioned name, such as ``"classification.v1"``.
        output: name of the graph output that holds the logits.
        labels: labels in the order of the logits (for tokens: the entity labels, without B- and
            I-); empty for heads without labels. No two are the same but for blanks at the edges and
            Unicode normalisation.
        activation: what turns logits into scores.
        thresholds: one per label, the probability from 0 to 1 that the label must reach; None where
            the kind has none, and for 0.5 everywhere.
        temperature: what logits are divided by for scores, so that a score says how often it is
            right: one number, or for ``"sigmoid"`` one a label. Decisions are made without it, by
            `thresholds` and `no_answer` too. None changes nothing.
        scale: ``(offset, factor)`` of a head that answers with a number: value = logit * factor +
            offset, in the unit of the targets; None where the kind has none, and for ``(0, 1)``.
        layers: hidden layer that the head reads: ``"last"``, ``"mix"`` (learned mean of all) or an
            index (0 is the embedding layer, negative counts from the end).
        pooling: how token vectors become one; None for heads that answer per token.
        input: a single text, or a pair of texts.
        max_tokens: longest input in tokens, special tokens included.
        stride: tokens shared by two windows of a long text.
        dimensions: sizes to which a vector may be cut; empty for heads that give none, and for a
            vector that is only good as a whole.
        no_answer: of a head that finds an answer: how far the logits of "no answer" must be above
            those of the best span for there to be none; None: a span is always given.
        longest: of such a head: most tokens of an answer; None where the kind has none.
        sentences: of a head that makes summaries: how many when a call does not say; None takes the
            kind's own number. Of a head that shortens texts: of how many it keeps words; None keeps
            words of the whole text.
        words: of a head that shortens texts: most words when a call sets no limit; None takes the
            kind's own number.
        price: of a head that shortens texts: what a piece costs, in probability; None takes the
            kind's own.
        scheme: of a head that labels tokens, what its tags are: ``"bio"`` (the first token of a
            span and those behind have tags of their own), ``"iob"`` (the same, but a span may also
            begin without its first tag), ``"io"`` (one tag a label; neighbours with one label are
            one span) or ``"words"`` (the same, within a word). Ours are trained as ``"bio"``, the
            others are imported.
        generation: of a head that writes: its decoder; None for other kinds.
    """

    kind: str
    output: str
    labels: tuple[str, ...] = ()
    activation: Literal["softmax", "sigmoid", "span", "identity"] = "identity"
    thresholds: tuple[float, ...] | None = None
    temperature: tuple[float, ...] | None = None
    scale: tuple[float, float] | None = None
    layers: Literal["last", "mix"] | int = "last"
    pooling: Literal["cls", "mean", "max"] | None = None
    input: Literal["text", "pair"] = "text"
    max_tokens: int
    stride: int = 0
    dimensions: tuple[int, ...] = ()
    no_answer: float | None = None
    longest: int | None = None
    sentences: int | None = None
    words: int | None = None
    price: float | None = field(default=None, metadata=schema.OPTIONAL)
    scheme: Literal["bio", "iob", "io", "words"] = "bio"
    generation: Generation | None = field(default=None, metadata=schema.OPTIONAL)

    def __post_init__(self) -> None:
        _check_labels(self.labels)
        if self.thresholds is not None:
            _check_thresholds(self.thresholds, self.labels)
        if self.temperature is not None:
            _check_temperature(self.temperature, len(self.labels), self.activation)
        if self.scale is not None:
            _check_scale(self.scale)
        if any(size < 1 for size in self.dimensions):
            raise ValueError(f"dimensions: found {list(self.dimensions)}, expected 1 or more each.")
        for name in ("longest", "sentences", "words"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}: found {value}, expected at least 1.")
        if self.price is not None and not 0 <= self.price <= 1:
            raise ValueError(f"price: found {self.price}, expected 0 to 1.")
        if self.no_answer is not None and not math.isfinite(self.no_answer):
            raise ValueError(f"no_answer: found {self.no_answer}, expected a finite number.")
        if self.max_tokens < 3:
            raise ValueError(f"max_tokens: found {self.max_tokens}, expected at least 3.")
        if not 0 <= self.stride < self.max_tokens:
            raise ValueError(
                f"stride: found {self.stride}, expected 0 to {self.max_tokens - 1}"
                " (max_tokens - 1)."
            )


def _check_labels(labels: tuple[str, ...]) -> None:
    """Refuse two labels that people read as one, and what is no text."""
    for label in labels:
        if not label or any("\ud800" <= character <= "\udfff" for character in label):
            raise ValueError(f"labels: found {label!r}, expected text in Unicode, not empty.")
    read = [unicodedata.normalize("NFC", label).strip() for label in labels]
    if len(set(read)) != len(read):
        twice, _ = Counter(read).most_common(1)[0]
        alike = " and ".join(
            repr(own) for own, each in zip(labels, read, strict=True) if each == twice
        )
        raise ValueError(
            f"labels: one is duplicated: {alike} are the same, apart from blanks at the edges and"
            " Unicode normalisation. Rename one."
        )


def _check_thresholds(thresholds: tuple[float, ...], labels: tuple[str, ...]) -> None:
    if len(thresholds) != len(labels):
        raise ValueError(
            f"thresholds: found {len(thresholds)} for {len(labels)} labels, expected one a label."
        )
    if not all(0 <= threshold <= 1 for threshold in thresholds):
        raise ValueError(f"thresholds: found {list(thresholds)}, expected 0 to 1 each.")


def _check_temperature(temperature: tuple[float, ...], labels: int, activation: str) -> None:
    counts = {1, labels} if activation == "sigmoid" else {1}
    if len(temperature) not in counts:
        allowed = " or ".join(map(str, sorted(counts)))
        raise ValueError(f"temperature: found {len(temperature)} numbers, expected {allowed}.")
    if not all(_COLDEST <= number <= _HOTTEST for number in temperature):
        raise ValueError(
            f"temperature: found {list(temperature)}, expected {_COLDEST:g} to {_HOTTEST:g} each."
        )


def _check_scale(scale: tuple[float, ...]) -> None:
    if len(scale) != 2 or not all(map(math.isfinite, scale)) or scale[1] <= 0:
        raise ValueError(
            f"scale: found {list(scale)}, expected two finite numbers: an offset, and a factor"
            " above 0."
        )


def strides(specs: Iterable[HeadSpec]) -> dict[str, int]:
    """Tokens that windows share, by the kind of inputs for which there are heads.

    One for all heads of a kind, since answers must not depend on which heads were asked.
    """
    found: dict[str, int] = {}
    for spec in specs:
        found[spec.input] = max(spec.stride, found.get(spec.input, 0))
    return found


def check_name(name: object, known: Iterable[str]) -> None:
    """Refuse the name of a head that is not among `known`.

    Raises:
        UnknownHead: names the nearest.
    """
    names = list(known)
    if not isinstance(name, str) or name not in names:
        raise unknown_head(name, names)


def unknown_head(name: object, known: Collection[str], owner: str = "this engine") -> UnknownHead:
    """The error for a head that `owner` does not have; names the nearest of those that it has."""
    has = ", ".join(known) or "none"
    return UnknownHead(f"no head {name!r}; {owner} has {has}.{nearest(str(name), known)}")
