"""The texts on which smoothing and ranges are measured."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from polyhead.text.encoding import Input, flat
from polyhead_export.errors import CalibrationError


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


def sample(texts: Sequence[Input], *, count: int, seed: int) -> CalibrationTexts:
    """Draw up to `count` different texts.

    Raises:
        CalibrationError: when there is no text, or the same one again and again: its few
            tokens say nothing of others.
    """
    distinct = sorted(set(texts), key=flat)
    if not distinct:
        raise CalibrationError(
            "no texts to calibrate with; int8 needs some of the training texts."
            " Name other data with --config."
        )
    if len(distinct) == 1:
        raise CalibrationError(
            f"all {len(texts)} texts to calibrate with are {flat(distinct[0])[:40]!r}; int8 needs"
            " different ones. Name other data with --config."
        )
    return CalibrationTexts(
        tuple(random.Random(seed).sample(distinct, min(count, len(distinct)))), seed
    )
