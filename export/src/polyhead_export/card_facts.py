"""What a model card tells that no other part of an export needs: data, test figures, examples."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from polyhead import Engine, Prediction
from polyhead.text.encoding import Encoding, flat
from polyhead_export.texts import ExportTexts
from polyhead_models.config import CardConfig, Config
from polyhead_models.data import examples as data
from polyhead_models.errors import DataError
from polyhead_models.evaluation import HeadFigures, evaluate

logger = logging.getLogger(__name__)

_EXAMPLES, _USUAL, _LONGEST = 3, 60, 200  # texts; characters


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What is known of a model besides its manifest; nothing has to be.

    Attributes:
        settings: what the configuration says for the card.
        texts: by source, how many texts there are to train and to validate with.
        sources: by head, the source of its targets.
        test: by head, metrics of the exported graph on the test split.
        examples: answers of the exported graph to some of the golden texts.
    """

    settings: CardConfig = field(default_factory=CardConfig)
    texts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    test: Mapping[str, HeadFigures] = field(default_factory=dict)
    examples: Sequence[Prediction] = ()


def card_facts(
    config: Config, texts: ExportTexts, engine: Engine, golden: Sequence[Encoding]
) -> CardFacts:
    """Gather them.

    Args:
        config: where the data is.
        texts: that were calibrated with and measured on.
        engine: over the exported graph.
        golden: the bundle's golden texts, of which short ones become the examples.
    """
    trained = texts.split in ("validation", "train")  # not of a file of texts
    train = Counter(example.source for example in texts.train)
    own = texts.measured if texts.split == "validation" else ()
    measured = Counter(example.source for example in own)
    counts = {name: (train[name], measured[name]) for name in train | measured}
    short = [e.input for e in golden if e.text.strip() and len(flat(e.input)) <= _LONGEST]
    short.sort(key=lambda item: abs(len(flat(item)) - _USUAL))
    return CardFacts(
        settings=config.card,
        texts=counts if trained else {},
        sources={n: head.data for n, head in config.heads.items() if head.data is not None},
        test=_tested(config, engine) if trained else {},
        examples=engine.predict(short[:_EXAMPLES]),
    )


def _tested(config: Config, engine: Engine) -> dict[str, HeadFigures]:
    """None where there is no test split, or it cannot be read: an export does not need it."""
    labels = {name: spec.labels for name, spec in engine.heads.items()}
    try:
        examples = data.seen(config, data.load(config, "test"), labels)
        return evaluate(engine, examples, label="test")
    except DataError as problem:
        logger.info("no test figures for the model card: %s", problem)
        return {}


def today() -> str:
    """The date, or that of ``SOURCE_DATE_EPOCH``, for builds that can be repeated."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(int(seconds), UTC)
    return now.date().isoformat()
