"""What a student should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polyhead.bundle.digest import sha256
from polyhead.system.schema import plain
from polyhead_models import checkpoint as checkpoints
from polyhead_models.errors import ShrinkError
from polyhead_models.shrinking import texts

_OF_THE_GATE = ("max_drop", "max_distance")


@dataclass(frozen=True, kw_only=True)
class ShrinkSettings:
    """What a student should be, and what it may learn from.

    Attributes:
        speed_up: the teacher's time for a text over the student's; does not count where all of the
            next three are given.
        layers: fixes the number of layers; so do the next two.
        ffn: neurons of each layer.
        attention_heads: of each layer.
        max_drop: most points of 100 that a head may lose.
        max_distance: 1 minus the least mean cosine of vectors that have no labels.
        texts: files and folders of texts without labels.
        start: a student of an earlier run, whose general phase takes the place of this one's.
        minutes: of both phases, about; the steps that fit are counted when they begin.
        steps: of the general and of the task phase, in place of `minutes`.
        seed: of everything random.
    """

    speed_up: float = 2.5
    layers: int | None = None
    ffn: int | None = None
    attention_heads: int | None = None
    max_drop: float = 1.0
    max_distance: float = 0.05
    texts: tuple[Path, ...] = ()
    start: Path | None = None
    minutes: float = 20.0
    steps: tuple[int, int] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("minutes", 0), ("max_drop", 0), ("max_distance", 0), ("speed_up", 1)):
            if not getattr(self, name) > least:
                found = getattr(self, name)
                raise ShrinkError(f"{name} = {found}: expected more than {least}.")
        if self.steps is not None and (min(self.steps) < 0 or self.steps[1] < 1):
            raise ShrinkError(f"steps = {self.steps}: expected at least 0 and at least 1.")

    @property
    def fixed(self) -> dict[str, int | None]:
        """The parts of the shape; None for those that are free."""
        return {"layers": self.layers, "ffn": self.ffn, "attention_heads": self.attention_heads}

    def identity(self, teacher: Path, heads: Sequence[str]) -> dict[str, Any]:
        """What a student is made from: equal identities give equal students.

        The settings without those of the gate, and digests of files.
        """
        settings = plain(replace(self, texts=(), start=None))
        for key in (*_OF_THE_GATE, "texts", "start"):
            del settings[key]
        files = {str(file): sha256(file) for file in texts.files(self.texts)}
        for name, folder in (("teacher", teacher), ("start", self.start)):
            if folder is not None:
                files[name] = sha256(folder / checkpoints.WEIGHTS)
        files |= checkpoints.digests(checkpoints.describe(teacher).config)
        return {"config": {**settings, "heads": list(heads)}, "data": files}
