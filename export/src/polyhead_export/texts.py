"""The texts of an export: some to calibrate with, some to measure on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from polyhead_export import texts_file
from polyhead_models import checkpoint as checkpoints
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.config import Config
from polyhead_models.data import examples as data
from polyhead_models.data import sources
from polyhead_models.data.examples import Example
from polyhead_models.errors import DataError


@dataclass(frozen=True)
class ExportTexts:
    """Examples to calibrate with, and examples to measure on.

    Attributes:
        train: of the training split.
        measured: of the validation split; where there is none, of the training split again.
        split: which of them, or that a file was given.
    """

    train: Sequence[Example]
    measured: Sequence[Example]
    split: str


def load(
    checkpoint: Checkpoint,
    config: Config | None,
    given: tuple[Sequence[Example], Sequence[Example]] | None = None,
) -> ExportTexts:
    """Read the texts of a checkpoint's heads.

    Args:
        checkpoint: the trained model.
        config: where the texts are; None takes what the checkpoint remembers.
        given: examples to calibrate with and to measure on, in place of both; see
            `polyhead_export.texts_file`. Those of a kind that no head reads are left out.

    Raises:
        DataError: when the texts are not where they were, have changed, or cannot be used.
    """
    if given is not None:
        kinds = {spec.input for spec in checkpoint.model.specs.values()}
        train, measured = (_read_by(kinds, examples) for examples in given)
        return ExportTexts(train or measured, measured or train, texts_file.SPLIT)
    if config is None:
        config = checkpoint.description.config
        if not config.data:
            raise DataError(
                "the checkpoint remembers no data, so there are no texts to calibrate with and to"
                " compare on. Name a file of texts with --texts, or data with --config."
            )
        if checkpoints.digests(config) != checkpoint.description.texts:
            missing = set(checkpoint.description.texts) - set(checkpoints.digests(config))
            raise DataError(
                f"the data that the checkpoint was trained on"
                f" {'is gone' if missing else 'has changed'}:"
                f" {_files(checkpoint)}. Put it back, or name the data with --config."
            )
    heads = checkpoint.model.specs
    train, validation = (_of(heads, data.load(config, split)) for split in ("train", "validation"))
    measured = validation or train
    data.check(config, measured, {name: spec.labels for name, spec in heads.items()})
    return ExportTexts(train, measured, "validation" if validation else "train")


def _read_by(kinds: Collection[str], examples: Sequence[Example]) -> Sequence[Example]:
    """Those that are texts or pairs as some head reads them."""
    return [e for e in examples if ("text" if isinstance(e.text, str) else "pair") in kinds]


def _of(heads: Collection[str], examples: Sequence[Example]) -> Sequence[Example]:
    """Those with a reference of one of the heads; all where heads learn from no reference."""
    return [e for e in examples if any(head in heads for head in e.references)] or examples


def _files(checkpoint: Checkpoint) -> str:
    return ", ".join(
        sources.shown(source, split)
        for source in checkpoint.description.config.data.values()
        for split in ("train", "validation")
        if source.path(split) is not None
    )
