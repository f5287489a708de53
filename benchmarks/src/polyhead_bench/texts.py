"""What peers are asked: texts of a file or of a bundle, or of wanted lengths, cut from these.

Random words of a vocabulary are no texts: a model's decisions on them are near ties.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from polyhead.bundle import Bundle, read
from polyhead.cli import texts as files
from polyhead.heads import HeadSpec
from polyhead.text.encoding import Input, flat
from polyhead.text.tokenizer import Tokenizer
from polyhead_bench.errors import BenchError

GOLDEN, SYNTHETIC = "golden", "synthetic"
_FILLER, _SHORTEST = "a", 4
_SIGMA = 0.6
"""Standard deviation of the logarithm of a mix's lengths."""


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


def asked_of(
    path: Path,
    texts: str = GOLDEN,
    *,
    field: str = "text",
    limit: int = 300,
    mean: float = 28.0,
    seed: int = 0,
) -> Texts:
    """What the peers of a run are asked.

    Args:
        path: of the bundle.
        texts: ``"golden"``, the bundle's own; ``"synthetic"``, a mix of lengths cut from these;
            or a file of JSON lines.
        field: key of the text in a line.
        limit: most texts.
        mean: of the lengths of the mix, in tokens.
        seed: of the mix.

    Raises:
        BenchError: when there are no texts.
    """
    bundle = read(path)
    tokenizer = Tokenizer.from_file(bundle.file(bundle.manifest.tokenizer))
    if texts == GOLDEN:
        return golden(bundle, tokenizer, pairs=False, limit=limit)
    if texts != SYNTHETIC:
        return of_file(texts, field, tokenizer, limit=limit, heads=bundle.manifest.heads)
    source = Source.of(golden(bundle, tokenizer), tokenizer)
    return source.mixed(limit, mean=mean, longest=bundle.manifest.encoder.max_tokens, seed=seed)


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


@dataclass(frozen=True)
class Source:
    """Texts of wanted lengths, cut from a stream of real ones: words in the order of people.

    Attributes:
        words: of the real texts, in their order.
        tokenizer: counts the tokens.
    """

    words: tuple[str, ...]
    tokenizer: Tokenizer

    @classmethod
    def of(cls, texts: Texts, tokenizer: Tokenizer) -> Source:
        """The stream of the given texts; of a pair both."""
        words = [w for x in texts.inputs for w in flat(x).replace("\0", " ").split()]
        return cls(tuple(words) or (_FILLER,), tokenizer)

    def mixed(self, count: int, *, mean: float, longest: int, seed: int) -> Texts:
        """Texts with log-normal lengths, as messages of people have them.

        Args:
            count: number of texts.
            mean: of the lengths in tokens.
            longest: most tokens; longer draws are cut to it.
            seed: of places in the stream, and of lengths.
        """
        random = np.random.default_rng(seed)
        drawn = random.lognormal(np.log(mean) - _SIGMA**2 / 2, _SIGMA, count)
        lengths = np.clip(np.rint(drawn), _SHORTEST, longest).astype(int)
        made = [self._cut(int(tokens), random) for tokens in lengths]
        about = f"{count:,} texts, log-normal lengths, mean {mean:g} tokens"
        return _made(made, about, self.tokenizer)

    def fixed(self, tokens: int, count: int) -> Texts:
        """Texts of exactly `tokens` tokens, special tokens included; at least 3."""
        random = np.random.default_rng(tokens)
        made = [self._cut(tokens, random) for _ in range(count)]
        return _made(made, f"{count:,} texts of {tokens} tokens", self.tokenizer)

    def _cut(self, tokens: int, random: np.random.Generator) -> str:
        """Words from a random place on, then short ones that fill it up to `tokens`."""
        start = int(random.integers(len(self.words)))
        cut = [self.words[(start + i) % len(self.words)] for i in range(tokens)]
        (encoding,) = self.tokenizer.encode([" ".join(cut)])
        if len(encoding) > tokens:  # as many words as end before the last token that fits
            end = int(encoding.offsets[max(0, tokens - 2), 1])
            cut = " ".join(cut)[:end].split()
        while cut and self._count(cut) > tokens:
            cut.pop()
        while (found := self._count(cut)) < tokens:
            cut += [_FILLER] * (tokens - found)
        return " ".join(cut)

    def _count(self, words: Sequence[str]) -> int:
        return len(self.tokenizer.encode([" ".join(words)])[0])


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
