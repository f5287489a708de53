"""What training minimises, which weights learn, and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

from polyhead_models.config import TeacherConfig
from polyhead_models.data.steps import Schedule
from polyhead_models.errors import ConfigError
from polyhead_models.heads.generation import GenerationNetwork
from polyhead_models.model import MultiHeadModel


class Objective(nn.Module):
    """A model and its loss as one module, which is what `transformers.Trainer` trains.

    The loss of a batch is the sum over heads of `weight * rows / usual * loss`: `loss` is the mean
    over the head's `rows` in the batch times its kind's `loss_scale`, `usual` how many rows a batch
    has on average. So each row of a head counts alike, in whatever company it comes. By the plain
    mean, the only row of a head in a batch would count as much as a hundred in another.
    """

    def __init__(
        self,
        model: MultiHeadModel,
        weights: Mapping[str, float],
        weighting: Literal["fixed", "uncertainty"],
        *,
        usual: Mapping[str, float] = MappingProxyType({}),
        teachers: Mapping[str, TeacherConfig] = MappingProxyType({}),
        held: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Join model and loss.

        Args:
            model: trained in place.
            weights: a factor for the loss of each head that is trained.
            weighting: ``"fixed"`` leaves it at the factors. ``"uncertainty"`` learns one more for
                each head, with Kendall, Gal & Cipolla 2018: ``exp(-s) * loss + s / 2``, where s is
                the logarithm of the head's variance and starts at 0.
            usual: rows of each head that a batch has on average, above 0; what is left out is 1.
            teachers: settings of the heads that learn from a teacher as well.
            held: a factor for how far each head that is held, trained or not, is from the
                untouched encoder's vectors, which come with the teachers' logits.
        """
        super().__init__()
        self.model = model
        self._weights = dict(weights)
        self._usual = dict(usual)
        self._teachers = dict(teachers)
        self._held = dict(held)
        self._rows = {name: row for row, name in enumerate(weights)}
        self.log_variances = (
            nn.Parameter(torch.zeros(len(weights))) if weighting == "uncertainty" else None
        )

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        targets: Mapping[str, Tensor],
        token_type_ids: Tensor | None = None,
        teachers: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            input_ids: int64 `(batch, tokens)`.
            attention_mask: `(batch, tokens)`, 1 for tokens and 0 for padding.
            targets: by head, as the head's `collate` makes them.
            token_type_ids: int64 `(batch, tokens)`; None for all 0.
            teachers: logits of teachers by head, in the shape of the head's own; NaN where they say
                nothing.

        Returns:
            ``{"loss": scalar}``.
        """
        logits = self.model(input_ids, attention_mask, token_type_ids)
        losses = []
        for name, weight in self._weights.items():
            loss = self._loss(name, logits[name], targets[name], teachers)
            if self.log_variances is not None:
                s = self.log_variances[self._rows[name]]
                loss = torch.exp(-s) * loss + s / 2
            known = self.model.networks[name].known(targets[name])
            rows = known.reshape(len(known), -1).any(dim=1).sum()
            losses.append(weight * rows / self._usual.get(name, 1.0) * loss)
        for name, weight in self._held.items():
            network = self.model.networks[name]
            losses.append(weight * network.distil(logits[name], teachers[name], 1.0))
        return {"loss": torch.stack(losses).sum()}

    def _loss(
        self, name: str, logits: Tensor, targets: Tensor, teachers: Mapping[str, Tensor]
    ) -> Tensor:
        network = self.model.networks[name]
        loss = network.loss(logits, targets)
        if (settings := self._teachers.get(name)) is not None:
            taught = network.distil(logits, teachers[name], settings.temperature)
            loss = (1 - settings.weight) * loss + settings.weight * taught
        return network.loss_scale * loss


def freeze(model: MultiHeadModel, what: Literal["nothing", "encoder"] | int) -> None:
    """Stop weights of the encoder from learning.

    Args:
        model: changed in place.
        what: nothing, the whole encoder, or the embeddings and this many layers, from the first.

    Raises:
        ConfigError: when the encoder has fewer layers, or layers that share their weights.
    """
    if what == "nothing":
        return
    learning = set() if what == "encoder" else _above(model, int(what))
    for parameter in model.encoder.parameters():
        parameter.requires_grad = id(parameter) in learning


def optimizer(
    objective: Objective, schedule: Schedule, *, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW with a rate for the encoder and one for the rest; no decay for biases and norms.

    A decoder that came with the encoder has the encoder's rate.

    Fused: its step takes a quarter of the time on a CPU.
    """
    heads = objective.model.networks.values()
    own = [h.decoder for h in heads if isinstance(h, GenerationNetwork) and h.pretrained]
    trained: list[nn.Module] = [objective.model.encoder, *own]
    encoder = {id(parameter) for module in trained for parameter in module.parameters()}
    rates = (schedule.head_learning_rate, schedule.learning_rate)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in objective.parameters():
        if parameter.requires_grad:
            key = (id(parameter) in encoder, parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": rates[inside],
                "weight_decay": weight_decay if matrix else 0.0,
            }
            for (inside, matrix), parameters in groups.items()
        ],
        fused=True,
    )


def _above(model: MultiHeadModel, count: int) -> set[int]:
    """Weights of the layers behind the first `count`."""
    depth = int(model.encoder.config.num_hidden_layers)
    if not 0 <= count <= depth:
        raise ConfigError(f"training: freeze: found {count}; this encoder has {depth} layers.")
    for module in model.encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return {id(p) for layer in list(module)[count:] for p in layer.parameters()}
    raise ConfigError(
        f"training: freeze: {type(model.encoder).__name__} has no list of {depth} layers."
        ' Allowed here: "nothing" or "encoder".'
    )
