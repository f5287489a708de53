"""Heads of several checkpoints over the one encoder that they share."""

from polyhead_models.combining.combine import Part, combine, remove

__all__ = ["Part", "combine", "remove"]
