"""What the peers are asked: texts of a file, of a bundle, or a seeded mix of lengths."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from polyhead.bundle import Bundle
from polyhead.cli import texts as files
from polyhead.heads import HeadSpec
from polyhead.text.encoding import Input, flat
from polyhead.text.tokenizer import Tokenizer
from polyhead_bench.errors import BenchError


@dataclass(frozen=True)
class Texts:
    """Inputs and where they are from.

    Attributes:
        inputs: texts, or pairs of them; at least one.
        about: what they are, for people.
        tokens: how many tokens each has, special tokens included.
        labels: by head, the right label of each; heads without known labels are absent.
    """

    inputs: tuple[Input, ...]
    about: str
    tokens: tuple[int, ...]
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over the inputs in their order."""
        return hashlib.sha256("\0".join(map(flat, self.inputs)).encode()).hexdigest()


def of_file(
    path: str | Path,
    field: str,
    tokenizer: Tokenizer,
    *,
    limit: int,
    heads: Mapping[str, HeadSpec] | None = None,
) -> Texts:
    """The first `limit` texts of a file of JSON lines.

    Args:
        path: of the file.
        field: key of the text in a line.
        tokenizer: counts the tokens.
        limit: most texts.
        heads: of the model; where each line has one of a classification's labels under the head's
            name, these are the right ones.

    Raises:
        BenchError: when it has none.
    """
    found = _made(list(files.read(str(path), field))[:limit], f"{Path(path).name}", tokenizer)
    lines = [x for x in Path(path).read_text(encoding="utf-8").splitlines() if x.strip()]
    rows = [json.loads(line) for line in lines[:limit]]
    return replace(found, labels=_labels(rows, heads or {}))


def golden(
    bundle: Bundle, tokenizer: Tokenizer, *, pairs: bool = True, limit: int | None = None
) -> Texts:
    """The golden inputs of a bundle: with pairs of texts or without, the first `limit` or all."""
    inputs = [e.input for e in bundle.golden().examples if pairs or isinstance(e.input, str)]
    return _made(inputs[:limit], "golden texts", tokenizer)


def mixed(
    words: Sequence[str],
    tokenizer: Tokenizer,
    *,
    count: int,
    mean: float,
    sigma: float = 0.6,
    longest: int,
    seed: int,
) -> Texts:
    """Texts with log-normal lengths, as messages of people have them.

    Args:
        words: to draw from.
        tokenizer: counts the tokens.
        count: number of texts.
        mean: of the lengths in tokens.
        sigma: standard deviation of their logarithm.
        longest: most tokens; longer draws are cut to it.
        seed: of words and lengths.
    """
    random = np.random.default_rng(seed)
    drawn = random.lognormal(np.log(mean) - sigma**2 / 2, sigma, count)
    lengths = np.clip(np.rint(drawn), 4, longest).astype(int)
    made = [_text(words, tokenizer, int(n), random) for n in lengths]
    return _made(made, f"{count:,} texts, log-normal lengths, mean {mean:g} tokens", tokenizer)


def fixed(words: Sequence[str], tokenizer: Tokenizer, *, tokens: int, count: int) -> Texts:
    """Different texts of exactly `tokens` tokens, at least 3."""
    random = np.random.default_rng(tokens)
    made = [_text(words, tokenizer, tokens, random) for _ in range(count)]
    return _made(made, f"{count:,} texts of {tokens} tokens", tokenizer)


def _labels(rows: Sequence[object], heads: Mapping[str, HeadSpec]) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, spec in heads.items():
        own: tuple[Any, ...] = tuple(
            row.get(name) if isinstance(row, dict) else None for row in rows
        )
        if spec.kind == "classification.v1" and all(label in spec.labels for label in own):
            found[name] = own
    return found


def _made(inputs: Sequence[Input], about: str, tokenizer: Tokenizer) -> Texts:
    if not inputs:
        raise BenchError(f"{about}: no texts; expected at least one.")
    lengths = tuple(len(encoding) for encoding in tokenizer.encode(inputs))
    return Texts(tuple(inputs), about, lengths)


def _text(
    words: Sequence[str], tokenizer: Tokenizer, tokens: int, random: np.random.Generator
) -> str:
    """A text of exactly `tokens` tokens: random words, then short ones that fill it up."""
    drawn = list(random.choice(np.asarray(words, object), max(1, tokens - 2)))
    while drawn and _count(tokenizer, drawn) > tokens:
        drawn.pop()
    if _count(tokenizer, drawn) > tokens:
        drawn = ["a"]
    while (found := _count(tokenizer, drawn)) < tokens:
        drawn += ["a"] * (tokens - found)
    return " ".join(drawn)


def _count(tokenizer: Tokenizer, words: Sequence[str]) -> int:
    return len(tokenizer.encode([" ".join(words)])[0])
