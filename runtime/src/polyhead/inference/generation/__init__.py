"""Comes in: the encoder's states of texts. Goes out: token ids that a decoder writes, step by step.

One step computes the scores of the next token of all answers at once; `search` chooses, by the
rules of transformers' `generate`; `writing` holds the caches.
"""

from __future__ import annotations

from polyhead.inference.generation.backend import StepBackend
from polyhead.inference.generation.graphs import DecoderSessions
from polyhead.inference.generation.options import SearchOptions
from polyhead.inference.generation.search import Written
from polyhead.inference.generation.writing import SourceStates, Writing, together, write

__all__ = [
    "DecoderSessions",
    "SearchOptions",
    "SourceStates",
    "StepBackend",
    "Writing",
    "Written",
    "together",
    "write",
]
