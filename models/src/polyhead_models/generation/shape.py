"""What a decoder is made of; with it a checkpoint can build the decoder again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class DecoderShape:
    """Sizes and kinds of a transformer decoder, for all families alike.

    Attributes:
        vocabulary: rows of its embedding, and scores that it gives.
        width: of its vectors, and of the encoder's states.
        layers: each attends to the answer so far, then to the encoder's states.
        heads: of each attention.
        head_size: width of one.
        inner: width of the feed-forward part.
        activation: in the feed-forward part.
        gated: whether that has a gate, as T5 v1.1 does.
        norm: ``"rms"`` has neither mean nor bias.
        norm_first: whether a part normalises what it reads, and not what it adds to.
        epsilon: of the norms.
        bias: whether linears have one.
        positions: ``"learned"`` or ``"fixed"`` vectors, or ``"relative"``: a bias by distance.
        places: rows of the table of positions; of relative ones, buckets.
        offset: rows of the table before the first position.
        farthest: distance from which all share the last bucket of relative positions.
        embedding_scale: factor of token vectors.
        attention_scale: factor of the products of queries and keys.
        score_scale: factor of the last vectors.
        embedding_norm: whether token vectors are normalised.
        last_norm: whether the last layer's vectors are.
        tied: whether scores are products with the embedding.
        score_bias: whether each score has a bias, which is not trained.
        copies: whether it can copy tokens of the source (See et al. 2017).
        shortlist: how many tokens it generates, of all that it reads and may copy; None for all.
        dropout: in training.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    head_size: int
    inner: int
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu"
    gated: bool = False
    norm: Literal["layer", "rms"] = "layer"
    norm_first: bool = True
    epsilon: float = 1e-5
    bias: bool = True
    positions: Literal["learned", "fixed", "relative"] = "learned"
    places: int
    offset: int = 0
    farthest: int = 128
    embedding_scale: float = 1.0
    attention_scale: float
    score_scale: float = 1.0
    embedding_norm: bool = False
    last_norm: bool = True
    tied: bool = True
    score_bias: bool = False
    copies: bool = False
    shortlist: int | None = None
    dropout: float = 0.1
