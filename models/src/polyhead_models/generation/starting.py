"""What a head that writes begins its training with: the encoder's own decoder, or a new one."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

from polyhead.bundle import Generation
from polyhead.text.tokenizer import Tokenizer
from polyhead_models import encoder as encoders
from polyhead_models.config import DecoderConfig, HeadConfig
from polyhead_models.errors import ConfigError
from polyhead_models.generation import families
from polyhead_models.generation.shape import DecoderShape

logger = logging.getLogger(__name__)

LONGEST = 128
"""Most tokens that a new decoder writes, where its head does not say."""
_INNER = 4  # widths of the feed-forward part, as in BERT


@dataclass(frozen=True)
class Beginning:
    """A decoder that is not trained yet.

    Attributes:
        shape: what it is made of.
        generation: how it writes.
        weights: of the encoder's own; None for a new one.
        shortlist: ids of the tokens that a new one generates, int64; None for all.
    """

    shape: DecoderShape
    generation: Generation
    weights: Mapping[str, Tensor] | None = None
    shortlist: Tensor | None = None


def own(encoder: str, tokenizer: Tokenizer) -> Beginning:
    """The decoder that an encoder of an encoder-decoder family came with.

    Args:
        encoder: its name, as the configuration has it.
        tokenizer: of the encoder.

    Raises:
        ConfigError: when it has none, or it lacks what an answer begins or ends with.
    """
    place = encoders.locate(encoder)
    try:
        with encoders.quiet():
            config = transformers.AutoConfig.from_pretrained(place, trust_remote_code=False)
            if not families.has_decoder(config):
                raise ValueError(
                    f"a {config.model_type} has no decoder of its own; these have:"
                    f" {', '.join(families.FAMILIES)}. A new one is decoder = {{ layers = 2 }}"
                )
            model: Any = families.load(place)
        decoder = families.decoder_of(model)
        generation = families.generation_of(model, decoder.shape, known_tokens(tokenizer))
    except (OSError, ValueError) as problem:
        raise ConfigError(f'decoder = "own": {encoder}: {str(problem).rstrip(".")}.') from problem
    return Beginning(decoder.shape, generation, decoder.state_dict())


def limited(beginning: Beginning, head: HeadConfig) -> Beginning:
    """With the head's `longest` as what an answer has at most when a call does not say.

    Raises:
        ConfigError: when the decoder has not as many positions.
    """
    if head.longest is None:
        return beginning
    most = beginning.generation.max_tokens
    if head.longest > most:
        raise ConfigError(f"longest: found {head.longest}; this decoder writes at most {most}.")
    generation = replace(beginning.generation, default_tokens=head.longest)
    return replace(beginning, generation=generation)


def new(
    encoder: PreTrainedModel, tokenizer: Tokenizer, head: HeadConfig, targets: Iterable[str]
) -> Beginning:
    """A decoder with random weights but for its embedding, which is the encoder's.

    It writes the encoder's tokens: begins after the special token before a text, or the one behind
    where there is none before, and ends with the one behind.

    Args:
        encoder: whose states it reads.
        tokenizer: of the encoder.
        head: what is asked for.
        targets: what it is to write in training; read for a shortlist only.

    Raises:
        ConfigError: when the tokenizer puts no special token behind a text, or the heads do not fit
            the encoder's width.
    """
    asked = head.decoder
    assert isinstance(asked, DecoderConfig)
    frame = tokenizer.encode([""])[0].ids.tolist()
    if not frame:
        raise ConfigError(
            "decoder: the tokenizer puts no special token behind a text, so that no answer would"
            " end. Expected one such as [SEP] or </s>; add it to its post-processor."
        )
    width = int(encoder.config.hidden_size)
    heads = asked.heads or int(encoder.config.num_attention_heads)
    if width % heads:
        raise ConfigError(
            f"decoder: heads: found {heads}, expected a divisor of the encoder's width, {width}."
        )
    longest = head.longest or LONGEST
    shortlist = None
    if asked.shortlist is not None:
        counts = Counter(i for e in tokenizer.encode([*targets]) for i in e.ids[e.body].tolist())
        often = [token for token, _ in counts.most_common() if token != frame[-1]]
        shortlist = torch.tensor(sorted([frame[-1], *often[: asked.shortlist - 1]]))
    shape = DecoderShape(
        vocabulary=known_tokens(tokenizer),
        width=width,
        layers=asked.layers,
        heads=heads,
        head_size=width // heads,
        inner=asked.inner or _INNER * width,
        places=longest,
        attention_scale=(width // heads) ** -0.5,
        embedding_norm=True,
        copies=asked.copies,
        shortlist=None if shortlist is None else len(shortlist),
        dropout=head.dropout,
    )
    generation = Generation(
        vocabulary=shape.vocabulary,
        layers=shape.layers,
        heads=shape.heads,
        head_size=shape.head_size,
        start=frame[0],
        end=(frame[-1],),
        suppressed=tuple(sorted(set(frame) - {frame[-1]})),
        max_tokens=longest,
        default_tokens=longest,
        copies=shape.copies,
        windows="all",
    )
    return Beginning(shape, generation, shortlist=shortlist)


def known_tokens(tokenizer: Tokenizer) -> int:
    """Token ids of a tokenizer, 0 to one less than this."""
    return max(tokenizer.vocabulary.values()) + 1
