"""Heads of several checkpoints over the one encoder that they share."""

from polyhead_models.combining.combine import Part, combine, remove
from polyhead_models.combining.groups import groups

__all__ = ["Part", "combine", "groups", "remove"]
