"""A checkpoint and texts in, a smaller checkpoint that does the same out."""

from __future__ import annotations

from polyhead_models.shrinking.run import Shrunk, shrink
from polyhead_models.shrinking.settings import ShrinkSettings

__all__ = ["ShrinkSettings", "Shrunk", "shrink"]
