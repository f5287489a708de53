"""What heads learn from validation data once the weights stand: thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polyhead_models.checkpoint import Checkpoint
from polyhead_models.data.examples import Example


def tuned(checkpoint: Checkpoint, validation: Sequence[Example]) -> Checkpoint:
    """The checkpoint with the specs of its tunable heads tuned, in model and description alike.

    Args:
        checkpoint: trained; the specs of its model are replaced in place.
        validation: texts with references. A head that has none of them stays as it is.
    """
    engine = checkpoint.engine()
    for name, network in checkpoint.model.networks.items():
        known = [example for example in validation if name in example.references]
        if network.tunable and known:
            found = engine.predict([example.text for example in known], heads=[name])
            references = [example.references[name] for example in known]
            network.spec = network.tuned(network.spec, [f[name] for f in found], references)
    description = replace(checkpoint.description, heads=checkpoint.model.specs)
    return replace(checkpoint, description=description)
