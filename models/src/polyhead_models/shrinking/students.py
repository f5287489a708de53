"""A student of a teacher: fewer layers, and heads that read what stands for their layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from transformers import PreTrainedModel

from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.model import MultiHeadModel


@dataclass(frozen=True)
class Standing:
    """Which of the teacher's hidden states each of the student's stands for.

    Attributes:
        states: by the student's layer; its last stands for the teacher's last.
        depth: layers of the teacher.
    """

    states: tuple[int, ...]
    depth: int

    @classmethod
    def even(cls, layers: int, depth: int) -> Standing:
        """Evenly spread over the teacher's depth."""
        return cls(tuple(round((i + 1) * depth / layers) for i in range(layers)), depth)

    def place(self, state: int) -> int:
        """The student's state, 0 for the embeddings, nearest to one of the teacher's."""
        own, wanted = (0, *self.states), state % (self.depth + 1)
        return min(range(len(own)), key=lambda i: (abs(own[i] - wanted), -i))


def student(teacher: Checkpoint, encoder: PreTrainedModel, standing: Standing) -> Checkpoint:
    """A checkpoint of a smaller encoder with copies of the teacher's heads.

    A head that reads a layer by its number reads the one that stands for it; a mix of layers is one
    of those that stand for something, with their weights.
    """
    specs, configs = {}, dict(teacher.description.config.heads)
    for name, spec in teacher.model.specs.items():
        layers = spec.layers if isinstance(spec.layers, str) else standing.place(spec.layers)
        specs[name] = replace(spec, layers=layers)
        configs[name] = replace(configs[name], layers=layers, teacher=None)
    model = checkpoints.assemble(encoder, specs, configs, teacher.description.decoders)
    for name, network in model.networks.items():
        weights = teacher.model.networks[name].state_dict()
        if "reader.weights" in weights:
            weights["reader.weights"] = weights["reader.weights"][[0, *standing.states]]
        network.load_state_dict(weights)
    config = replace(teacher.description.config, heads=configs)
    own = encoders.settings(encoder)
    description = replace(teacher.description, encoder=own, heads=specs, config=config)
    return Checkpoint(model.eval(), teacher.tokenizer, description)


def restricted(checkpoint: Checkpoint, heads: Sequence[str]) -> Checkpoint:
    """The checkpoint with these heads only, over the same encoder."""
    networks = checkpoint.model.networks
    model = MultiHeadModel(checkpoint.model.encoder, {name: networks[name] for name in heads})
    config = checkpoint.description.config
    description = replace(
        checkpoint.description,
        heads={name: checkpoint.description.heads[name] for name in heads},
        config=replace(config, heads={name: config.heads[name] for name in heads}),
    )
    return Checkpoint(model.eval(), checkpoint.tokenizer, description)
