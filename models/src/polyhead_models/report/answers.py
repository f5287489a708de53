"""What a checkpoint answers to labelled texts, head by head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from polyhead_models import evaluation
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.config import Config
from polyhead_models.data import examples as data
from polyhead_models.data.examples import Example
from polyhead_models.errors import ConfigError
from polyhead_models.evaluation import answered


@dataclass(frozen=True)
class Held:
    """The texts that a head is compared on.

    Attributes:
        split: ``"test"`` or ``"validation"``.
        examples: those with a reference of the head, at least one.
    """

    split: str
    examples: Sequence[Example]


@dataclass
class Answers:
    """One head's results beside its references, in the order of the texts."""

    results: list[Any] = field(default_factory=list)
    references: list[Any] = field(default_factory=list)
    windowed: int = 0


def held_out(config: Config) -> dict[str, Held]:
    """The test split of each trained head, or the validation split where there is none.

    Raises:
        ConfigError: when a head has neither.
        DataError: when the data cannot be used.
    """
    splits = {split: data.load(config, split) for split in ("test", "validation")}
    found = {}
    for name, head in config.heads.items():
        if head.data is None:
            continue
        for split, examples in splits.items():
            if known := [example for example in examples if name in example.references]:
                found[name] = Held(split, known)
                break
        else:
            raise ConfigError(
                f"head {name!r}: its source {head.data!r} has neither a test nor a validation"
                " split, so there is nothing to compare on. Add one, or take a share:"
                " test_share = 0.1."
            )
    return found


def answers(checkpoint: Checkpoint, held: Mapping[str, Held], *, label: str) -> dict[str, Answers]:
    """Results of a checkpoint's heads; a text that several heads share is read once.

    Args:
        checkpoint: to ask; over-long texts are read in windows.
        held: the texts by head; heads that the checkpoint lacks are passed over.
        label: of the progress bar.
    """
    engine = checkpoint.engine()
    names: dict[int, dict[str, Example]] = {}
    for name in engine.heads:
        for example in held[name].examples if name in held else ():
            names.setdefault(id(example), {})[name] = example
    asked = [
        replace(example, references={name: example.references[name] for name in wanted})
        for wanted in names.values()
        for example in [next(iter(wanted.values()))]
    ]
    rows = answered(engine.heads, asked, evaluation.answers(engine, asked, label=label))
    return {
        name: Answers(
            [row.result for row in found],
            [row.reference for row in found],
            sum(row.windows > 1 for row in found),
        )
        for name, found in rows.items()
        if name in held
    }
