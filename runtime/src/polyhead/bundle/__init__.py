"""The bundle: a folder with graphs, tokenizer, golden answers and a manifest (format version 1)."""

from __future__ import annotations

from polyhead.bundle.golden import Golden, GoldenExample
from polyhead.bundle.manifest import EncoderInfo, FileEntry, Graph, HeadQuality, Manifest
from polyhead.bundle.reader import Bundle, is_bundle, read

__all__ = [
    "Bundle",
    "EncoderInfo",
    "FileEntry",
    "Golden",
    "GoldenExample",
    "Graph",
    "HeadQuality",
    "Manifest",
    "is_bundle",
    "read",
]
