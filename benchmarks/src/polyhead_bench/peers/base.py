"""What a peer is: one engine, seen from inside its own process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyhead.text.encoding import Input

Answers = dict[str, dict[str, Any]]
"""One text's answers by head, as plain data: what a head's `to_dict` gives."""

Feeds = Mapping[str, NDArray[np.int64]]
"""``input_ids``, ``attention_mask`` and ``token_type_ids``, each `(batch, tokens)`."""


class Peer(ABC):
    """An engine that answers texts with one or more heads. Tokenising and decoding are its own.

    A peer's module has a function ``load(folder, threads, options)`` that makes it.

    Attributes:
        schedules: names of the ways in which it can go through a list of texts; the first is its
            default.
        callers: how many threads may call `answer` at once and gain by it.
        concurrent: whether several threads may call it at once at all.
    """

    schedules: tuple[str, ...]
    callers: int = 1
    concurrent: bool = False

    @abstractmethod
    def answer(self, text: Input) -> Answers:
        """Answer one text."""

    @abstractmethod
    def answer_all(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Answer many, in their order."""

    @abstractmethod
    def info(self) -> Mapping[str, Any]:
        """Versions and settings, as plain data."""

    def reload(self) -> None:
        """Read its model again while it answers; nothing where a peer cannot."""
        return None

    def encode(self, text: Input) -> Feeds | None:
        """What `run_graph` is fed for one text; None where a peer has no graph of its own."""
        return None

    def run_graph(self, feeds: Feeds) -> Sequence[Any] | None:
        """Logits of the graph alone, `(batch, …)` a head; None where a peer has none.

        Args:
            feeds: rows of equal length; inputs that the graph does not have are left out.
        """
        return None


def all_ones(ids: NDArray[np.int64]) -> Feeds:
    """Feeds of rows of equal length: a mask of ones, token types of zeros.

    Args:
        ids: `(batch, tokens)`.
    """
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }
