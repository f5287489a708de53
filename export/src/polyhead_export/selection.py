"""Some of a checkpoint's heads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from polyhead.bundle.head_spec import unknown_head
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.model import MultiHeadModel


def chosen(names: Sequence[str], known: Iterable[str]) -> tuple[str, ...]:
    """The heads of `known` that `names` has, in the order of `known`; all when `names` is empty.

    Raises:
        UnknownHead: on a name that is not known; names the nearest.
    """
    known = tuple(known)
    for name in names:
        if name not in known:
            raise unknown_head(name, known, "the checkpoint")
    return tuple(name for name in known if not names or name in names)


def select(checkpoint: Checkpoint, names: Sequence[str]) -> Checkpoint:
    """The checkpoint with the heads `names` only; with all of them when `names` is empty.

    The encoder is the same object. A graph traced of it ends at the deepest layer that is read.

    Raises:
        UnknownHead: on a name that the checkpoint does not have; names the nearest.
    """
    networks = checkpoint.model.networks
    kept = chosen(names, networks)
    if len(kept) == len(networks):
        return checkpoint
    model = MultiHeadModel(checkpoint.model.encoder, {name: networks[name] for name in kept})
    return replace(checkpoint, model=model.train(checkpoint.model.training))
