"""Bundles in, one bundle out: their heads in one folder, graphs over one encoder as one graph.

Or a cascade: a student and its teacher, with thresholds.
"""

from polyhead_export.combining.cascade import cascade_heads
from polyhead_export.combining.combine import Combined, combine

__all__ = ["Combined", "cascade_heads", "combine"]
