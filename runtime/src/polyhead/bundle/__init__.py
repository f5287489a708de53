"""Comes in: a folder. Goes out: a bundle that was checked, its graphs, heads and golden answers.

The folder has graphs, tokenizer, golden answers, a model card and a manifest (format version 1), or
several sub-models (format version 2).
"""

from __future__ import annotations

from polyhead.bundle.collection import Collection
from polyhead.bundle.generation import Generation
from polyhead.bundle.golden import Golden, GoldenExample
from polyhead.bundle.manifest import (
    DecoderGraph,
    DecoderGraphs,
    EncoderInfo,
    FileEntry,
    Graph,
    Manifest,
)
from polyhead.bundle.measured import Attempt, Certificate, Coverage, Gate, HeadQuality, Reliability
from polyhead.bundle.reader import Bundle, is_bundle, manifest_digest, read, read_parts

__all__ = [
    "Attempt",
    "Bundle",
    "Certificate",
    "Collection",
    "Coverage",
    "DecoderGraph",
    "DecoderGraphs",
    "EncoderInfo",
    "FileEntry",
    "Gate",
    "Generation",
    "Golden",
    "GoldenExample",
    "Graph",
    "HeadQuality",
    "Manifest",
    "Reliability",
    "is_bundle",
    "manifest_digest",
    "read",
    "read_parts",
]
