"""What peers are asked: texts of a file or of a bundle, or of wanted lengths, cut from these.

Random words of a vocabulary are no texts: a model's decisions on them are near ties.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyhead.bundle import read
from polyhead.cli import texts as files
from polyhead.text.encoding import Input, flat
from polyhead.text.tokenizer import Tokenizer
from polyhead_bench.errors import BenchError

GOLDEN, SYNTHETIC = "golden", "synthetic"
_FILLER, _SHORTEST = "a", 4
_SIGMA = 0.6
"""Standard deviation of the logarithm of a mix's lengths."""


@dataclass(frozen=True)
class AskedTexts:
    """Inputs and where they are from.

    Attributes:
        inputs: texts, or pairs of them; at least one.
        about: what they are, for people.
        tokens: how many tokens each has, special tokens included.
    """

    inputs: tuple[Input, ...]
    about: str
    tokens: tuple[int, ...]

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
) -> AskedTexts:
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
    tokenizer = Tokenizer.of_bundle(bundle)
    if texts not in (GOLDEN, SYNTHETIC):
        return of_file(texts, field, tokenizer, limit=limit)
    inputs = [example.input for example in bundle.golden().examples]
    if texts == GOLDEN:  # peers are asked texts, no pairs of them
        alone = [item for item in inputs if isinstance(item, str)]
        return _made(alone[:limit], "golden texts", tokenizer)
    source = TextSource.of(_made(inputs, "golden texts", tokenizer), tokenizer)
    return source.mixed(limit, mean=mean, longest=bundle.manifest.encoder.max_tokens, seed=seed)


def of_file(path: str | Path, field: str, tokenizer: Tokenizer, *, limit: int) -> AskedTexts:
    """The first `limit` different texts of a file of JSON lines, each under the key `field`.

    Of equal ones polyhead would compute one.

    Raises:
        BenchError: when it has none.
    """
    different = dict.fromkeys(text for _, text in files.read(str(path), field))
    found = list(itertools.islice(different, limit))
    return _made(found, Path(path).name, tokenizer)


@dataclass(frozen=True)
class TextSource:
    """Texts of wanted lengths, cut from a stream of real ones: words in the order of people.

    Attributes:
        words: of the real texts, in their order.
        tokenizer: counts the tokens.
    """

    words: tuple[str, ...]
    tokenizer: Tokenizer

    @classmethod
    def of(cls, texts: AskedTexts, tokenizer: Tokenizer) -> TextSource:
        """The stream of the given texts; of a pair both."""
        words = [w for x in texts.inputs for w in flat(x).replace("\0", " ").split()]
        return cls(tuple(words) or (_FILLER,), tokenizer)

    def mixed(self, count: int, *, mean: float, longest: int, seed: int) -> AskedTexts:
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

    def fixed(self, tokens: int, count: int) -> AskedTexts:
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


def _made(inputs: Sequence[Input], about: str, tokenizer: Tokenizer) -> AskedTexts:
    if not inputs:
        raise BenchError(f"{about}: no texts; expected at least one.")
    lengths = tuple(len(encoding) for encoding in tokenizer.encode(inputs))
    return AskedTexts(tuple(inputs), about, lengths)
