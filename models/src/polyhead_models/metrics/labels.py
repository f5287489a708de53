"""Label by label: what was found of each, and which is taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LABELLED = ("classification.v1", "multilabel.v1", "tokens.v1")
"""The kinds whose decisions are labels."""

Item = tuple[str, int, int]


@dataclass(frozen=True, kw_only=True)
class LabelFigures:
    """One label's figures, as scikit-learn defines them; what is divided by 0 is 0.

    Attributes:
        precision: share of the answers with this label that are right.
        recall: share of the references with this label that were answered so.
        f1: harmonic mean of the two.
        support: references with this label: texts, or spans.
        answered: answers with this label, right or wrong.
    """

    precision: float
    recall: float
    f1: float
    support: int
    answered: int


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How often one label was answered where another was right.

    Attributes:
        gold: the reference's label; None where there is none.
        answer: the label that was answered; None where none was. The same as `gold` for a span with
            the right label and other ends.
        count: how often.
    """

    gold: str | None
    answer: str | None
    count: int

    def shown(self) -> tuple[str, str]:
        """Both sides in words."""
        gold, answer = ("(none)" if name is None else name for name in (self.gold, self.answer))
        return gold, "(other ends)" if gold == answer else answer


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """A head's labels.

    Attributes:
        labels: figures of every label, in the order of the head's labels.
        confusions: the most frequent first.
    """

    labels: Mapping[str, LabelFigures]
    confusions: tuple[Confusion, ...]

    def worst_first(self) -> list[tuple[str, LabelFigures]]:
        """The labels in references or answers: the lowest F1 first, of equals the more frequent."""
        known = [(name, f) for name, f in self.labels.items() if f.support or f.answered]
        return sorted(known, key=lambda item: (item[1].f1, -item[1].support))


def label_report(
    labels: Iterable[str], results: Sequence[Any], references: Sequence[Any]
) -> LabelReport:
    """Results of a kind in `LABELLED`, held against references in the same order.

    A wrong label of a text is confused with each that was missed there, a wrong span with each
    missed one that it overlaps. What has no such partner is confused with nothing.

    Args:
        labels: of the head.
        results: of any number of texts.
        references: of the same texts.
    """
    right: Counter[str] = Counter()
    support: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    confused: Counter[tuple[str | None, str | None]] = Counter()
    for result, reference in zip(results, references, strict=True):
        found, expected = items(result.decision), items(reference)
        right.update(label for label, _, _ in found & expected)
        support.update(label for label, _, _ in expected)
        answered.update(label for label, _, _ in found)
        confused.update(_confused(expected - found, found - expected))
    known = dict.fromkeys([*labels, *sorted(support)])
    pairs = sorted(confused.items(), key=lambda pair: (-pair[1], *(n or "" for n in pair[0])))
    return LabelReport(
        labels={name: _figures(right[name], support[name], answered[name]) for name in known},
        confusions=tuple(Confusion(gold=a, answer=b, count=n) for (a, b), n in pairs),
    )


def items(decision: Any) -> set[Item]:
    """A decision or reference as labels with their places; a text's label is all over the text."""
    labels = (decision,) if isinstance(decision, str) else decision
    return {(item, 0, 1) if isinstance(item, str) else item for item in labels}


def _confused(missed: set[Item], wrong: set[Item]) -> Iterator[tuple[str | None, str | None]]:
    pairs = [(a, b) for a in missed for b in wrong if a[1] < b[2] and b[1] < a[2]]
    yield from ((a[0], b[0]) for a, b in pairs)
    yield from ((a[0], None) for a in missed - {a for a, _ in pairs})
    yield from ((None, b[0]) for b in wrong - {b for _, b in pairs})


def _figures(right: int, support: int, answered: int) -> LabelFigures:
    return LabelFigures(
        precision=right / max(answered, 1),
        recall=right / max(support, 1),
        f1=2 * right / max(support + answered, 1),
        support=support,
        answered=answered,
    )
