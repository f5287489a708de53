"""What an engine answers with: a back end, its tokenizer and its heads, exchanged as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyhead.bundle.head_spec import strides
from polyhead.heads import Decoder, HeadSpec, decoder
from polyhead.inference.session import Backend
from polyhead.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from polyhead.loading import Origin

SHOWN = {"text": "a lone text", "pair": "a pair of texts"}
"""The kinds of inputs, and how messages call them."""


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model; nothing in it changes, so that a call sees one model from start to end.

    Attributes:
        backend: computes logits.
        tokenizer: makes token ids.
        specs: heads by name, in the order of results.
        decoders: by head.
        options: names of the settings that a call may give, by head.
        strides: tokens that windows share, by kind of input.
        max_tokens: longest input of the encoder, special tokens included.
        source: where it came from, for people; None where nobody said.
        origin: how to open it again; None where it cannot be.
    """

    backend: Backend
    tokenizer: Tokenizer
    specs: Mapping[str, HeadSpec]
    decoders: Mapping[str, Decoder]
    options: Mapping[str, tuple[str, ...]]
    strides: Mapping[str, int]
    max_tokens: int
    source: str | None
    origin: Origin | None

    @classmethod
    def of(
        cls,
        backend: Backend,
        tokenizer: Tokenizer,
        heads: Mapping[str, HeadSpec],
        max_tokens: int,
        source: str | None = None,
        origin: Origin | None = None,
    ) -> Model:
        """Put the parts together.

        Raises:
            ManifestError: when a head is of an unknown kind.
        """
        decoders = {name: decoder(name, spec) for name, spec in heads.items()}
        return cls(
            backend=backend,
            tokenizer=tokenizer,
            specs=dict(heads),
            decoders=decoders,
            options={name: tuple(getattr(d, "options", ())) for name, d in decoders.items()},
            strides={**dict.fromkeys(SHOWN, 0), **strides(heads.values())},
            max_tokens=max_tokens,
            source=source,
            origin=origin,
        )
