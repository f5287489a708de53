"""What a report of results says; its JSON file is the plain form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from polyhead.system.cpu import Cpu
from polyhead.system.schema import parse, read_json
from polyhead_models.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class HeadResult:
    """One head on the test split.

    Attributes:
        kind: of the head, with its version.
        metric: name of the primary figure.
        test: all figures on the test split.
        validation: all figures on the validation split; None for a source without one.
        baseline: the same figures of TF-IDF and a linear model; None for kinds without a baseline,
            and where it was left out.
        test_texts: texts that had a reference.
        windowed: how many of them were longer than the encoder reads, and read in windows.
        training_texts: texts of the training split that had a reference.
    """

    kind: str
    metric: str
    test: Mapping[str, float]
    validation: Mapping[str, float] | None
    baseline: Mapping[str, float] | None
    test_texts: int
    windowed: int
    training_texts: int


@dataclass(frozen=True, kw_only=True)
class RecipeResult:
    """One checkpoint.

    Attributes:
        recipe: name of the checkpoint's folder.
        encoder: that training began with.
        heads: by name; heads that are not trained are absent.
        seconds: that training took, validation included; None where no step was run.
        epochs: that were run.
        best_epoch: whose weights were kept.
        precision: of the training.
        seed: of the training.
        trained_with: versions of libraries.
    """

    recipe: str
    encoder: str
    heads: Mapping[str, HeadResult]
    seconds: float | None
    epochs: int
    best_epoch: int
    precision: str
    seed: int
    trained_with: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Report:
    """All checkpoints, and where their figures were made.

    Attributes:
        recipes: by name.
        cpu: that made the figures; training may have run on another.
        evaluated_with: versions of libraries.
    """

    recipes: tuple[RecipeResult, ...]
    cpu: Cpu
    evaluated_with: Mapping[str, str]


def read(path: Path) -> Report:
    """What an earlier call wrote.

    Raises:
        ConfigError: when the file is not of this form.
    """
    data = read_json(path, limit_bytes=2**26, error=ConfigError)
    return parse(Report, data, where=str(path), error=ConfigError)
