"""``[training]``: the schedule that all heads share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """``[training]``.

    Attributes:
        epochs: passes over the data.
        batch_tokens: tokens in a batch, about; batches hold texts of similar length.
        learning_rate: highest rate; rises over the first steps, then falls to 0.
        warmup: share of the steps in which the rate rises.
        weight_decay: of AdamW.
        sampling: how often each source is drawn: by its rows, by its rows to the power of
            1 / temperature, or all alike.
        temperature: for ``sampling = "temperature"``.
        head_learning_rate: highest rate of the heads; None takes `learning_rate`.
        freeze: what of the encoder does not learn: ``"nothing"``, ``"encoder"``, or a number: the
            embeddings and that many layers, from the first.
        loss_weighting: ``"fixed"`` takes the heads' `loss_weight`; ``"uncertainty"`` learns a
            factor for each head as well.
        patience: stop after this many epochs without a better mean of the heads' validation
            metrics; None trains all epochs. The best epoch is kept either way.
        precision: ``"auto"`` takes bf16 autocast where this CPU or GPU has the instructions.
        seed: of everything random.
    """

    epochs: int = 3
    batch_tokens: int = 2048
    learning_rate: float = 1e-4
    warmup: float = 0.1
    weight_decay: float = 0.01
    sampling: Literal["proportional", "temperature", "uniform"] = "proportional"
    temperature: float = 2.0
    head_learning_rate: float | None = None
    freeze: Literal["nothing", "encoder"] | int = "nothing"
    loss_weighting: Literal["fixed", "uncertainty"] = "fixed"
    patience: int | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch_tokens", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected at least {low}.")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience: found {self.patience}, expected at least 1.")
        for name in ("learning_rate", "head_learning_rate", "temperature"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected more than 0.")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup: found {self.warmup}, expected 0 to below 1.")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay: found {self.weight_decay}, expected 0 or more.")
