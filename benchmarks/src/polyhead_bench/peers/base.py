"""What a peer is: one engine, seen from inside its own process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from polyhead.text.encoding import Input

Answers = dict[str, dict[str, Any]]
"""One text's answers by head, as plain data: what a head's `to_dict` gives."""


class Peer(Protocol):
    """An engine that answers texts with one or more heads. Tokenising and decoding are its own.

    A peer's module has a function ``load(folder, threads, options)`` that makes it.
    """

    schedules: tuple[str, ...]
    """Names of the ways in which it can go through a list of texts; the first is its default."""

    callers: int
    """How many threads may call `answer` at once and gain by it."""

    def answer(self, text: Input) -> Answers:
        """Answer one text."""
        ...

    def answer_all(self, texts: Sequence[Input], schedule: str) -> list[Answers]:
        """Answer many, in their order."""
        ...

    def profile(self, text: Input) -> Mapping[str, float]:
        """Milliseconds of the parts of one answer: ``tokenise``, ``run``, ``decode``.

        Empty where a peer cannot tell.
        """
        ...

    def info(self) -> Mapping[str, Any]:
        """Versions and settings, as plain data."""
        ...
