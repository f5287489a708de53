"""The statistics of a whole configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from polyhead.text.encoding import Input
from polyhead.text.tokenizer import Tokenizer
from polyhead_models import encoder as encoders
from polyhead_models.config import SPLITS, Config
from polyhead_models.data import examples, sources, statistics
from polyhead_models.data.statistics import Leak, SplitStatistics, Texts

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HeadReport:
    """One head: its statistics by split, and the texts that its splits share."""

    source: str
    splits: Mapping[str, SplitStatistics]
    leaks: Sequence[Leak]


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """All sources and heads.

    Attributes:
        rows: number of rows by source and split, sources that no head reads included.
        heads: by name; heads that are not trained are absent.
        max_tokens: longest input of the encoder.
    """

    rows: Mapping[str, Mapping[str, int]]
    heads: Mapping[str, HeadReport]
    max_tokens: int


def report(config: Config) -> DataReport:
    """Read all data of a configuration and count.

    Raises:
        DataError: when the data cannot be used.
        EncoderError: when the encoder has no tokenizer here.
    """
    rows: dict[str, dict[str, int]] = {name: {} for name in config.data}
    texts: dict[str, dict[str, Texts]] = {n: {} for n, h in config.heads.items() if h.data}
    for source, data in config.data.items():
        for split in SPLITS:
            if found := sources.load(data, split):
                logger.info("%s: %s: %s rows", source, split, f"{len(found):,}")
                rows[source][split] = len(found)
                made = examples.of_source(config, source, split, found)
                for head in (name for name in texts if config.heads[name].data == source):
                    texts[head][split] = statistics.of_head(made, head)
    lengths = _TokenCounts(encoders.tokenizer(config.encoder.name))
    heads = {
        name: HeadReport(
            source=str(config.heads[name].data),
            splits={
                split: statistics.of_split(
                    some,
                    lengths(_inputs(some, config.heads[name].input)),
                    config.encoder.max_tokens,
                )
                for split, some in splits.items()
            },
            leaks=statistics.leaks(splits),
        )
        for name, splits in texts.items()
    }
    return DataReport(rows=rows, heads=heads, max_tokens=config.encoder.max_tokens)


class _TokenCounts:
    """Lengths in tokens; a text that several heads read is tokenised once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[Input, int] = {}

    def __call__(self, texts: Sequence[Input]) -> list[int]:
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if new:
            logger.info("tokenising %s texts", f"{len(new):,}")
        for text, encoding in zip(new, self._tokenizer.encode(new), strict=True):
            self._known[text] = len(encoding)
        return [self._known[text] for text in texts]


def _inputs(texts: Texts, kind: Literal["text", "pair"]) -> list[Input]:
    """What the encoder reads: texts that learn together are inputs of their own."""
    if kind == "pair":
        return [text for text, _ in texts]
    return [part for text, _ in texts for part in ((text,) if isinstance(text, str) else text)]
