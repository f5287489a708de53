"""The manifest's measurements, made at export: quality, reliability, gate and certificate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class HeadQuality:
    """What was measured for one head at export.

    Attributes:
        metric: name of the head's metric; None for a head without references.
        split: the split that it was measured on.
        texts: number of texts.
        fp32: the metric of the PyTorch model.
        exported: the metric of the exported graph.
        agreement: 0 to 1: share of texts with the same decision; for embeddings the mean cosine,
            for numbers the concordance.
        max_logit_error: largest absolute difference of a logit.
        mean_logit_error: mean absolute difference of a logit; None in older bundles.
        changed: 0 to 1: share of decisions that the export changed, near ties left out. A decision
            is what a text gets: a label, an answer, a summary; or each span of a `tokens` head and
            each label of a `multilabel` head. For numbers, 1 - `agreement`. An embedding is changed
            below a cosine of 0.99 (in older bundles 1 - `agreement`); here the first word or two of
            each text count as texts, too. None in older bundles.
        drop_interval: lower and upper 95% confidence bound of `drop`, each one-sided, in points (in
            older bundles 2.5 and 97.5 percentile); None without a metric, and in older bundles.
        at_chance: whether the PyTorch model's metric is no better than that of an answer that is
            always the same, so that a drop says nothing.
        decisions: how many decisions `changed` is a share of; None for numbers, and in older
            bundles.
        changed_interval: lower and upper 95% confidence bound of `changed`, each one-sided; None in
            older bundles.
        near_ties: decisions that do not count, since the PyTorch model's first two choices are
            closer than the gate's `tie_margin`; None where a head has none, and in older bundles.
        near_ties_changed: how many of them the export changed.
    """

    split: str
    texts: int
    metric: str | None = None
    fp32: float | None = None
    exported: float | None = None
    agreement: float
    max_logit_error: float
    mean_logit_error: float | None = None
    changed: float | None = None
    drop_interval: tuple[float, ...] | None = None
    at_chance: bool = False
    decisions: int | None = None
    changed_interval: tuple[float, ...] | None = None
    near_ties: int | None = None
    near_ties_changed: int = 0

    def __post_init__(self) -> None:
        for name in ("drop_interval", "changed_interval"):
            ends = getattr(self, name)
            if ends is not None and len(ends) != 2:
                raise ValueError(f"{name}: found {len(ends)} numbers, expected 2.")

    @property
    def drop(self) -> float | None:
        """How much worse the exported graph is, in points (100 times the metric's difference)."""
        if self.fp32 is None or self.exported is None:
            return None
        return 100 * (self.fp32 - self.exported)

    @property
    def drop_text(self) -> str:
        """The drop and its interval for people: ``+0.25 (-0.50 to +1.00)``, or ``-``."""
        if self.drop is None:
            return "-"
        interval = " ({:+.2f} to {:+.2f})" if self.drop_interval is not None else ""
        return f"{self.drop:+.2f}" + interval.format(*(self.drop_interval or ()))

    @property
    def changed_text(self) -> str:
        """Changed decisions and their interval for people: ``4 of 150 (0.9% to 6.0%)``, or ``-``.

        A share, ``2.67%``, where no decisions are counted.
        """
        if self.changed is None:
            return "-"
        text = f"{100 * self.changed:.2f}%"
        if self.decisions is not None:
            text = f"{self.changed * self.decisions:.0f} of {self.decisions:,}"
        if self.changed_interval is not None:
            text += " ({:.1f}% to {:.1f}%)".format(*(100 * end for end in self.changed_interval))
        return text

    @property
    def near_ties_text(self) -> str:
        """Near ties for people: ``12 of 162, 3 changed``, or ``-``."""
        if self.near_ties is None:
            return "-"
        every = self.near_ties + (self.decisions or 0)
        return f"{self.near_ties:,} of {every:,}, {self.near_ties_changed:,} changed"


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What is right of the decisions that a head is surest of.

    Attributes:
        share: of all decisions, 0 to 1.
        accuracy: how many of these are right, 0 to 1.
        min_score: the score of the least sure of these, 0 to 1.
    """

    share: float
    accuracy: float
    min_score: float


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How far a head's scores can be taken at their word, and what its temperature changed.

    Attributes:
        split: the split that it was measured on.
        decisions: number of scores that came true or not: one a text, a span or an answer; of a
            `multilabel` head one a text and label.
        before: expected calibration error, Brier score and log loss without a temperature, as
            ``"ece"``, ``"brier"`` and ``"log_loss"``; smaller is better.
        after: the same with one, each half of the texts with the temperature of the other half;
            as `before` where the head has no temperature.
        coverage: of the surest decisions, by share; empty for a `multilabel` head.
        remark: why there is no temperature, or what is odd about it; None where nothing is.
    """

    split: str
    decisions: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    coverage: tuple[Coverage, ...] = ()
    remark: str | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One way to quantise that the gate looked at.

    Attributes:
        name: what was done, for people.
        drop: points by head, for the heads with a metric that is better than chance.
        changed: percent of decisions, by head.
        failed: heads that are beyond a limit, whatever the number of texts (in older bundles: by
            the measured value).
        uncertain: heads whose interval holds a limit; empty in older bundles.
    """

    name: str
    drop: Mapping[str, float]
    changed: Mapping[str, float]
    failed: tuple[str, ...]
    uncertain: tuple[str, ...] = ()

    def verdict(self, head: str) -> Literal["pass", "uncertain", "fail"]:
        """What the gate said of a head."""
        if head in self.failed:
            return "fail"
        return "uncertain" if head in self.uncertain else "pass"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What was allowed, and how the graph came to be within it.

    Attributes:
        max_drop: most points that a head's metric may lose.
        max_flips: most percent of a head's decisions that may change.
        attempts: in the order in which they were tried.
        per_row: linears whose activations have a scale a row, measured as the graph runs.
        fp32: linears that were left in float.
        tie_margin: decisions whose first two choices are closer, in probability, are near ties;
            0 in older bundles, where all decisions count.
        selected: index of the attempt that is the graph; the last one in older bundles.
    """

    max_drop: float
    max_flips: float
    attempts: tuple[Attempt, ...]
    per_row: tuple[str, ...] = field(default=())
    fp32: tuple[str, ...] = field(default=())
    tie_margin: float = 0.0
    selected: int = -1

    def __post_init__(self) -> None:
        if not -1 <= self.selected < len(self.attempts):
            raise ValueError(
                f"selected: found {self.selected}, expected one of {len(self.attempts)} attempts."
            )

    @property
    def attempt(self) -> Attempt:
        """The attempt that is the graph."""
        return self.attempts[self.selected]


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """How far a text's logits depend on its batch and on threads; see `polyhead.verify.stability`.

    Attributes:
        graph: file name of the graph.
        texts: number of texts that were asked alone and among others.
        batch_sizes: rows of the batches.
        threads: numbers of onnxruntime's own threads, and of threads that call it.
        max_difference: largest absolute difference of a logit from the text's own, alone on one
            thread; 0 means the same to the bit.
        cpu: where it was measured.
        onnxruntime: version that it was measured with.
    """

    graph: str
    texts: int
    batch_sizes: tuple[int, ...]
    threads: tuple[int, ...]
    max_difference: float
    cpu: str
    onnxruntime: str

    @property
    def passed(self) -> bool:
        """Whether nothing changed a logit."""
        return self.max_difference == 0
