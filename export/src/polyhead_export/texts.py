"""The texts of an export: some to calibrate with, some to measure on; of data, or of a file."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhead.cli import texts as files
from polyhead.errors import InputError
from polyhead.text.encoding import Input, flat
from polyhead_export.errors import CalibrationError
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
            `read_file`. Those of a kind that no head reads are left out.

    Raises:
        DataError: when the texts are not where they were, have changed, or cannot be used.
    """
    if given is not None:
        kinds = {spec.input for spec in checkpoint.model.specs.values()}
        train, measured = (_read_by(kinds, examples) for examples in given)
        return ExportTexts(train or measured, measured or train, "texts")
    if config is None:
        config = checkpoint.description.config
        if not config.data:
            raise DataError(_no_data(checkpoint))
        if checkpoints.digests(config) != checkpoint.description.texts:
            missing = set(checkpoint.description.texts) - set(checkpoints.digests(config))
            files = ", ".join(
                sources.shown(source, split)
                for source in config.data.values()
                for split in ("train", "validation")
                if source.path(split) is not None
            )
            raise DataError(
                f"the data that the checkpoint was trained on"
                f" {'is gone' if missing else 'has changed'}: {files}. Put it back, or name the"
                " data with --config."
            )
    heads = checkpoint.model.specs
    labels = {name: spec.labels for name, spec in heads.items()}
    train, validation = (
        data.seen(config, _of(heads, data.load(config, split)), labels)
        for split in ("train", "validation")
    )
    return ExportTexts(train, validation or train, "validation" if validation else "train")


def _no_data(checkpoint: Checkpoint) -> str:
    """What to do where a checkpoint remembers no texts: a command that makes some, and the next."""
    pairs = all(spec.input == "pair" for spec in checkpoint.model.specs.values())
    made, more = ("pairs.jsonl", " --field question,context") if pairs else ("texts.txt", "")
    line = 'a JSON object with "question" and "context"' if pairs else "a text"
    return (
        "the checkpoint remembers no data, so there are no texts to calibrate with and to compare"
        f" on. Take a few hundred such as it will read, {line} a line:\n\n"
        f"  shuf -n 400 ALL > {made}\n"
        f"  polyhead export CHECKPOINT -o BUNDLE --texts {made}{more}\n\n"
        "or name a configuration with data by --config."
    )


def _read_by(kinds: Collection[str], examples: Sequence[Example]) -> Sequence[Example]:
    """Those that are texts or pairs as some head reads them."""
    return [e for e in examples if ("text" if isinstance(e.text, str) else "pair") in kinds]


def _of(heads: Collection[str], examples: Sequence[Example]) -> Sequence[Example]:
    """Those with a reference of one of the heads; all where heads learn from no reference."""
    return [e for e in examples if any(head in heads for head in e.references)] or examples


def read_file(path: Path, field: str = "text") -> tuple[list[Example], list[Example]]:
    """Every other text to calibrate with, the others to measure on; a single text is both.

    Args:
        path: what `polyhead run --input` reads: JSON lines, CSV, TSV or a text a line, by its
            ending. Empty lines are passed over.
        field: key of the text in a line that is an object; two with a comma between for a pair.

    Raises:
        DataError: when the file cannot be read or has no text; names file and line.
    """
    try:
        rows = files.read(str(path), field)
        found = [Example(where, str(path), text, {}) for where, text in rows]
    except InputError as problem:
        raise DataError(str(problem)) from problem
    if not found:
        raise DataError(f"{path}: no text in it; expected some of those that the model will read.")
    return found[::2], found[1::2] or found


@dataclass(frozen=True)
class CalibrationTexts:
    """What is observed.

    Attributes:
        texts: sampled from the training texts and pairs.
        seed: of the sample.
    """

    texts: tuple[Input, ...]
    seed: int

    @property
    def digest(self) -> str:
        """SHA-256 over the texts in their order."""
        return hashlib.sha256("\0".join(map(flat, self.texts)).encode()).hexdigest()

    @property
    def facts(self) -> dict[str, Any]:
        """For the manifest, as plain data."""
        found = {"texts": len(self.texts), "seed": self.seed, "sha256": self.digest}
        return {**found, "ranges": "least squared error"}


def sample(texts: Sequence[Input], *, count: int, seed: int, least: int = 2) -> CalibrationTexts:
    """Draw up to `count` different texts.

    Args:
        texts: to draw from.
        count: most of them.
        seed: of the draw.
        least: different texts that are needed: 2 for int8, since the few tokens of one say nothing
            of others.

    Raises:
        CalibrationError: when there are fewer.
    """
    distinct = sorted(set(texts), key=flat)
    if not distinct:
        raise CalibrationError(
            "no texts to compare on, nor for int8 to calibrate with. Name other data with --config."
        )
    if count < least:
        raise CalibrationError(f"calibration_texts: found {count}, int8 needs at least {least}.")
    if len(distinct) < least:
        raise CalibrationError(
            f"all {len(texts)} texts to calibrate with are {flat(distinct[0])[:40]!r}; int8 needs"
            " different ones. Name other data with --config."
        )
    return CalibrationTexts(
        tuple(random.Random(seed).sample(distinct, min(count, len(distinct)))), seed
    )
