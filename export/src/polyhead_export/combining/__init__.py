"""Bundles in, one bundle out: their heads in one folder, graphs over one encoder as one graph."""

from polyhead_export.combining.combine import Combined, combine

__all__ = ["Combined", "combine"]
