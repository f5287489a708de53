"""What a comparison of joint and single training says; `report.json` is its plain form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polyhead_models.report.bootstrap import Estimate

FORMAT = "polyhead-comparison"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class HeadComparison:
    """One head, trained with the others and alone, on the same texts.

    Attributes:
        metric: name of the primary figure; larger is better.
        split: ``"test"``, or ``"validation"`` for a source without a test split.
        texts: texts that have a reference.
        windowed: how many of them are longer than the encoder reads, and read in windows.
        joint: figure of the head that was trained with the others.
        single: figure of the head that was trained alone.
        difference: joint minus single, from paired draws.
        samples: draws of the bootstrap.
    """

    metric: str
    split: str
    texts: int
    windowed: int
    joint: Estimate
    single: Estimate
    difference: Estimate
    samples: int

    @property
    def verdict(self) -> str:
        """Which of the two is better, where the interval of the difference leaves 0 out."""
        if self.difference.low > 0:
            return "joint is better"
        if self.difference.high < 0:
            return "single is better"
        return "no difference shown"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run.

    Attributes:
        heads: names of the trained heads.
        parameters: weights of encoder and heads together.
        seconds: that training took, validation included; None where no step was run.
        epochs: that were run.
        best_epoch: whose weights were kept.
        examples: training texts in an epoch.
        history: an entry an epoch: training loss and validation figures.
    """

    heads: Sequence[str]
    parameters: int
    seconds: float | None
    epochs: int
    best_epoch: int
    examples: int
    history: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Totals:
    """All single runs together, to hold against the joint run.

    Attributes:
        parameters: summed over the single models.
        seconds: summed over the single runs; None where one is not known.
    """

    parameters: int
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole comparison.

    Attributes:
        format: always ``"polyhead-comparison"``.
        version: of this form.
        encoder: its name, as the configuration has it.
        heads: by name.
        joint: the joint run.
        singles: the single run of each head.
        singles_together: their sums.
        seed: of the bootstrap.
    """

    format: str = FORMAT
    version: int = VERSION
    encoder: str
    heads: Mapping[str, HeadComparison]
    joint: Run
    singles: Mapping[str, Run]
    singles_together: Totals
    seed: int
