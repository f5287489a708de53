"""What a bundle says about the decoder of a head that writes: its shapes, tokens and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polyhead.bundle import limits

OPTIONS = ("max_tokens", "min_tokens", "beams", "length_penalty", "no_repeat", "early_stopping")
"""Names of the settings that a call may give a head that writes."""

MOST_BEAMS = 64
"""Beams that a call may ask for; each has caches of its own."""
MOST_PENALTY = 10.0


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How a decoder writes, token by token, and what applies when a call does not say.

    The caches of one answer hold ``2 * layers * heads * head_size`` float32 numbers a token.

    Attributes:
        vocabulary: token ids that it may write, 0 to ``vocabulary - 1``: the width of its scores.
        layers: of the decoder, each with keys and values of its own.
        heads: attention heads in a layer.
        head_size: width of one of them.
        start: token that stands before every answer and is no part of it.
        end: tokens that end an answer; at least one.
        forced: tokens that every answer begins with, such as a language's; usually none.
        suppressed: tokens that are never written.
        max_tokens: most tokens of an answer, `start` not counted.
        default_tokens: most tokens when a call does not say.
        copies: whether it can copy tokens of the source; its scores are log-probabilities then.
        windows: what it reads of a text in several windows: ``"all"``, one after the other, or the
            ``"first"``.
        forced_end: end token that is written in the last place of an answer that would go on; None
            leaves it cut.
        beams: of the search; 1 is greedy.
        length_penalty: exponent of the length by which a beam's score is divided; above 0 favours
            long answers, below 0 short ones.
        no_repeat: no run of so many tokens comes twice; 0 for no limit.
        min_tokens: tokens before which no end is written.
        early_stopping: when beams end: at once, when there are as many answers as beams (True);
            when no better one is likely (False); when there can be none ("never").
    """

    vocabulary: int
    layers: int
    heads: int
    head_size: int
    start: int
    end: tuple[int, ...]
    forced: tuple[int, ...] = ()
    suppressed: tuple[int, ...] = ()
    max_tokens: int
    default_tokens: int
    copies: bool = False
    windows: Literal["all", "first"] = "first"
    forced_end: int | None = None
    beams: int = 1
    length_penalty: float = 1.0
    no_repeat: int = 0
    min_tokens: int = 0
    early_stopping: bool | Literal["never"] = False

    def __post_init__(self) -> None:
        for name, least, most in (
            ("vocabulary", 2, limits.VOCABULARY.most),
            ("layers", 1, limits.DECODER_LAYERS.most),
            ("heads", 1, limits.DECODER_WIDTH.most),
            ("head_size", 1, limits.DECODER_WIDTH.most),
            ("max_tokens", 1, limits.ANSWER_TOKENS.most),
            ("default_tokens", 1, self.max_tokens),
            ("min_tokens", 0, self.max_tokens),
            ("no_repeat", 0, self.max_tokens),
            ("beams", 1, MOST_BEAMS),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name}: found {value}, expected {least} to {most:,}.")
        if self.heads * self.head_size > limits.DECODER_WIDTH.most:
            raise ValueError(
                f"heads: found {self.heads} of {self.head_size}, together at most"
                f" {limits.DECODER_WIDTH.most:,} are allowed."
            )
        if not abs(self.length_penalty) <= MOST_PENALTY:
            raise ValueError(
                f"length_penalty: found {self.length_penalty}, expected -{MOST_PENALTY:g} to"
                f" {MOST_PENALTY:g}."
            )
        self._check_tokens()

    def _check_tokens(self) -> None:
        if not self.end:
            raise ValueError("end: empty, expected at least one token that ends an answer.")
        single = () if self.forced_end is None else (self.forced_end,)
        for name, tokens in (
            ("start", (self.start,)),
            ("end", self.end),
            ("forced", self.forced),
            ("suppressed", self.suppressed),
            ("forced_end", single),
        ):
            if not all(0 <= token < self.vocabulary for token in tokens):
                raise ValueError(
                    f"{name}: found {list(tokens)}, expected token ids from 0 to"
                    f" {self.vocabulary - 1} (vocabulary - 1)."
                )
        if self.forced_end is not None and self.forced_end not in self.end:
            raise ValueError(
                f"forced_end: found {self.forced_end}, expected one of the end tokens"
                f" {list(self.end)}."
            )
        if len(self.forced) >= self.max_tokens:
            raise ValueError(
                f"forced: found {len(self.forced)} tokens, expected fewer than max_tokens,"
                f" {self.max_tokens}."
            )
        if set(self.end) <= set(self.suppressed):
            raise ValueError("suppressed: all end tokens are among them, so no answer would end.")
        if len(set(self.suppressed)) >= self.vocabulary:
            raise ValueError("suppressed: all tokens are among them, so none could be written.")

    @property
    def token_bytes(self) -> int:
        """Bytes in the caches of one answer for each of its tokens."""
        return 8 * self.layers * self.heads * self.head_size
