"""How many steps a training takes, and what of ``[training]`` the data chooses.

What the configuration leaves out is chosen so that a training takes about 400 steps or more, within
bounds that also suit much data:

======================  ============================================================================
``batch_tokens``        the largest of 2048, 1024, 512 and 256 with which `epochs` (3, where it is
                        left out as well) take 400 steps; 256 where none does
``epochs``              as many as take 400 steps, 3 at least and 20 at most
``learning_rate``       2e-4
``head_learning_rate``  1e-3, or `learning_rate` where that is higher
======================  ============================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from polyhead.system.shorten import counted
from polyhead_models.config import TrainingConfig
from polyhead_models.data.batches import rounds

FEW = 200
"""Steps below which a training is likely to be too short."""

_ENOUGH = 400
_BATCHES = (2048, 1024, 512, 256)
_EPOCHS = (3, 20)
_KEYS = ("epochs", "batch_tokens", "learning_rate", "head_learning_rate")
_RATE, _HEAD_RATE = 2e-4, 1e-3


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The length and the rates of a training; see `TrainingConfig` for the first four.

    Attributes:
        epoch_steps: steps of an epoch, of one process.
        chosen: which of the first four the data chose.
    """

    epochs: int
    batch_tokens: int
    learning_rate: float
    head_learning_rate: float
    epoch_steps: int
    chosen: tuple[str, ...]

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.epochs * self.epoch_steps

    def __str__(self) -> str:
        rates = f"learning_rate = {self.learning_rate:g}, {self.head_learning_rate:g} for heads"
        return (
            f"{counted(self.epochs, 'epoch')} of {counted(self.epoch_steps, 'step')},"
            f" {self.steps:,} in all"
            f" (batch_tokens = {self.batch_tokens}, {rates}"
            + (f"; chosen from the data: {', '.join(self.chosen)})" if self.chosen else ")")
        )

    @property
    def warning(self) -> str | None:
        """What would help where there are few steps; None where there are enough."""
        if self.steps >= FEW:
            return None
        smaller = self.batch_tokens * self.steps // _ENOUGH
        longer = math.ceil(_ENOUGH / self.epoch_steps)
        batches = f"batch_tokens = {smaller} or " if smaller >= _BATCHES[-1] else ""
        return (
            f"only {counted(self.steps, 'step')}: heads may have learnt little after them. Under"
            f" [training], {batches}epochs = {longer} would give about {_ENOUGH}; a higher"
            f" head_learning_rate (it is {self.head_learning_rate:g}) and more rows help as well."
        )


def schedule(settings: TrainingConfig, lengths: Sequence[int], *, processes: int = 1) -> Schedule:
    """What is set, and for what is not the choice that the module describes.

    Args:
        settings: of the configuration.
        lengths: tokens of each training row, at least one.
        processes: that share an epoch; the choice does not depend on them.
    """
    wanted = _ENOUGH / (settings.epochs or _EPOCHS[0])
    enough = (size for size in _BATCHES if rounds(lengths, size) >= wanted)
    batch_tokens = settings.batch_tokens or next(enough, _BATCHES[-1])
    needed = math.ceil(_ENOUGH / rounds(lengths, batch_tokens))
    rate = settings.learning_rate or _RATE
    return Schedule(
        chosen=tuple(key for key in _KEYS if getattr(settings, key) is None),
        epochs=settings.epochs or min(max(needed, _EPOCHS[0]), _EPOCHS[1]),
        batch_tokens=batch_tokens,
        learning_rate=rate,
        head_learning_rate=settings.head_learning_rate or max(rate, _HEAD_RATE),
        epoch_steps=rounds(lengths, batch_tokens, processes),
    )
