"""Checkpoints by the encoder that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from polyhead_models import checkpoint as checkpoints
from polyhead_models.checkpoint import Checkpoint
from polyhead_models.combining import sharing
from polyhead_models.errors import CombineError


def groups(paths: Sequence[Path], note: Callable[[str], None]) -> list[tuple[int, ...]]:
    """Which checkpoints may stand over one encoder, by their numbers.

    Each is held against the first of every group; one that fits none begins a group.

    Args:
        paths: of the checkpoints.
        note: told why one begins a group of its own.

    Raises:
        CheckpointError: when one cannot be read.
    """
    found: list[tuple[Checkpoint, list[int]]] = []
    for number, path in enumerate(paths):
        made = checkpoints.load(path)
        reasons = []
        for first, members in found:
            try:
                sharing.check(first, made, (str(paths[members[0]]), str(path)))
            except CombineError as reason:
                reasons.append(str(reason))
            else:
                members.append(number)
                break
        else:
            found.append((made, [number]))
            for told in reasons:
                note(told)
    return [tuple(members) for _, members in found]
