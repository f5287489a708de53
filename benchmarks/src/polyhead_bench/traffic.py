"""Texts for measuring: lengths as in ragged traffic, words from the bundle's own vocabulary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers

from polyhead.bundle import read

_MARKS = "#Ġ▁"
# exp(3.2 + 0.55² / 2) = 28 tokens on average, as in the measurements behind the design.
_LOG_MEAN, _LOG_DEVIATION = 3.2, 0.55
_SHORTEST, _LONGEST = 4, 128


def longest(bundle: Path) -> int:
    """Tokens of the longest text of the traffic: 128, or what the encoder reads at once."""
    return min(_LONGEST, read(bundle).manifest.encoder.max_tokens)


def lengths(count: int, seed: int, most: int = _LONGEST) -> list[int]:
    """Tokens of `count` texts, log-normal with a mean of 28, special tokens included.

    Args:
        count: number of texts.
        seed: of the lengths.
        most: longer ones are cut to it.
    """
    draws = np.random.default_rng(seed).lognormal(_LOG_MEAN, _LOG_DEVIATION, count)
    return [int(n) for n in np.clip(np.round(draws), _SHORTEST, most)]


def texts(bundle: Path, sizes: Sequence[int], seed: int) -> list[str]:
    """Texts of exactly so many tokens, where the vocabulary has words of one token.

    Args:
        bundle: whose tokenizer counts.
        sizes: tokens, special tokens included.
        seed: of the choice of words.
    """
    found = read(bundle)
    tokenizer = tokenizers.Tokenizer.from_file(str(found.file(found.manifest.tokenizer)))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    frame = len(tokenizer.encode("").ids)
    random = np.random.default_rng(seed)
    words = _words(tokenizer, frame)
    return [" ".join(random.choice(words, max(0, size - frame))) for size in sizes]


def _words(tokenizer: tokenizers.Tokenizer, frame: int) -> list[str]:
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    pieces = vocabulary if isinstance(vocabulary, dict) else [piece for piece, _ in vocabulary]
    candidates = sorted({piece.strip(_MARKS).lower() for piece in pieces if piece[0] != "["})
    words = [word for word in candidates if word.isascii() and word.isalpha() and len(word) > 1]
    found = [w for w in words[:20_000] if len(tokenizer.encode(f"{w} {w}").ids) == frame + 2]
    return found or ["a"]
