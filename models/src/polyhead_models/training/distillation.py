"""Logits of trained teachers on the training texts, for heads that learn from them as well."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from polyhead import Engine
from polyhead.heads import HeadSpec
from polyhead.heads.tokens import tags
from polyhead.text.encoding import Encoding
from polyhead_models import checkpoint as checkpoints
from polyhead_models.config import HeadConfig, TeacherConfig
from polyhead_models.data.examples import Example
from polyhead_models.errors import ConfigError

logger = logging.getLogger(__name__)

_CHUNK = 512


@dataclass(frozen=True)
class Teacher:
    """A trained head that speaks of the labels in the order of its pupil.

    Attributes:
        engine: over the teacher's checkpoint.
        head: its name there.
        spec: what the pupil is.
    """

    engine: Engine
    head: str
    spec: HeadSpec

    def logits(
        self, encodings: Sequence[Encoding], examples: Sequence[Example]
    ) -> list[list[Tensor]]:
        """For each example the logits of each window, float32, in the pupil's order and scale.

        Raises:
            ConfigError: when a head that answers per token was trained on other tokens.
        """
        found: list[list[Tensor]] = []
        bar = tqdm(total=len(examples), desc=f"teacher {self.head}", unit="text", leave=False)
        with bar:
            for start in range(0, len(examples), _CHUNK):
                chunk = [example.text for example in examples[start : start + _CHUNK]]
                own = self.engine.encode(chunk)
                made = self.engine.logits(chunk, heads=[self.head])[self.head]
                for mine, theirs, logits in zip(encodings[start:], own, made, strict=False):
                    found.append(self._windows(torch.from_numpy(logits), mine, theirs))
                bar.update(len(chunk))
        return found

    def _windows(self, logits: Tensor, mine: Encoding, theirs: Encoding) -> list[Tensor]:
        logits = self._translated(logits)
        if self.spec.pooling is not None:
            return [logits if logits.ndim == 1 else logits[0]]
        if mine.starts != theirs.starts or not np.array_equal(mine.ids, theirs.ids):
            raise ConfigError(
                f"teacher {self.head!r}: it reads other tokens than its pupil, which a head that"
                " answers per token cannot learn from. Take one with the same encoder,"
                " max_tokens and special_tokens."
            )
        return [logits[window] for window in mine.windows]

    def _translated(self, logits: Tensor) -> Tensor:
        theirs = self.engine.heads[self.head]
        if self.spec.scale is not None:
            offset, factor = theirs.scale or (0.0, 1.0)
            own_offset, own_factor = self.spec.scale
            return (logits * factor + offset - own_offset) / own_factor
        if theirs.labels == self.spec.labels:
            return logits
        known = _outputs(theirs)
        return logits[..., [known.index(output) for output in _outputs(self.spec)]]


def _outputs(spec: HeadSpec) -> tuple[str, ...]:
    return spec.labels if spec.pooling else tags(spec.labels, spec.scheme)


def load(name: str, config: TeacherConfig, spec: HeadSpec) -> Teacher:
    """The teacher of the head called `name`.

    Raises:
        CheckpointError: when the checkpoint cannot be read.
        ConfigError: when it has no such head, or one of another kind, input or labels.
    """
    engine = checkpoints.load(config.checkpoint).engine()
    head = config.head or name
    if head not in engine.heads:
        raise ConfigError(
            f"heads.{name}.teacher: {config.checkpoint} has no head {head!r}; it has"
            f" {', '.join(engine.heads)}. Name one with 'head'."
        )
    theirs = engine.heads[head]
    for what in ("kind", "input", "scheme"):
        found, expected = getattr(theirs, what), getattr(spec, what)
        if found != expected:
            raise ConfigError(
                f"heads.{name}.teacher: the {what} of {head!r} in {config.checkpoint} is {found},"
                f" expected {expected}."
            )
    if set(theirs.labels) != set(spec.labels):
        differing = sorted(set(theirs.labels) ^ set(spec.labels))
        raise ConfigError(
            f"heads.{name}.teacher: {head!r} in {config.checkpoint} has other labels; the first"
            f" that only one of the two knows is {differing[0]!r}. Train both on the same labels."
        )
    return Teacher(engine, head, spec)


def teacher_logits(
    heads: Mapping[str, HeadConfig],
    specs: Mapping[str, HeadSpec],
    examples: Sequence[Example],
    encodings: Sequence[Encoding],
) -> list[dict[str, list[Tensor]]]:
    """For each example the teachers' logits by head and window; texts of other heads have none.

    Raises:
        CheckpointError, ConfigError: as `load` and `Teacher.logits`.
    """
    found: list[dict[str, list[Tensor]]] = [{} for _ in examples]
    for name, head in heads.items():
        if head.teacher is None:
            continue
        teacher = load(name, head.teacher, specs[name])
        rows = [i for i, example in enumerate(examples) if name in example.references]
        logger.info(
            "%s: asking the teacher %s about %s texts",
            *(name, head.teacher.checkpoint, f"{len(rows):,}"),
        )
        made = teacher.logits([encodings[i] for i in rows], [examples[i] for i in rows])
        for i, logits in zip(rows, made, strict=True):
            found[i][name] = logits
    return found
