"""A transformer decoder that writes a token at a time, with caches or without, and may copy.

One set of layers for all families: what differs between them is in the `DecoderShape`. Its two
modules, `Cross` and `Step`, are traced into the graphs of a bundle; training runs the same layers
over whole answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from polyhead_models.generation.shape import DecoderShape

Memory = tuple[Tensor, Tensor]
"""Keys and values of a layer, each `(batch, heads, tokens, head_size)`."""

NOT_COPIED = -1
"""In place of the token id of a source's special tokens and of padding."""

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
}
_LEAST = 1e-30
_NEVER = -1e9
_FRESH = 0.02  # standard deviation of fresh weights, as in BERT


class DecoderStack(nn.Module):
    """The layers, and what makes scores of tokens of their last vectors."""

    distances: Tensor | None
    shortlist: Tensor | None

    def __init__(self, shape: DecoderShape) -> None:
        """Make a decoder with random weights."""
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        columns = shape.heads if shape.positions == "relative" else shape.width
        self.positions = nn.Embedding(shape.places, columns)
        self.embedding_norm = _norm(shape) if shape.embedding_norm else nn.Identity()
        self.layers = nn.ModuleList([DecoderLayer(shape) for _ in range(shape.layers)])
        self.last_norm = _norm(shape) if shape.last_norm else nn.Identity()
        if not shape.tied:
            self.output = nn.Linear(shape.width, shape.vocabulary, bias=False)
        if shape.score_bias:
            self.score_bias = nn.Parameter(torch.zeros(shape.vocabulary), requires_grad=False)
        if shape.copies:
            self.pointer = nn.Linear(shape.width, shape.heads * shape.head_size)
            self.gate = nn.Linear(shape.width, 1)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_FRESH)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        if shape.positions == "fixed":
            self.positions.weight.requires_grad = False
        self.register_buffer("distances", _buckets(shape), persistent=False)
        kept = None if shape.shortlist is None else torch.arange(shape.shortlist)
        self.register_buffer("shortlist", kept)

    @torch.no_grad()
    def generate_only(self, tokens: Tensor) -> None:
        """Set the shortlist: ids, int64 `(shortlist,)`."""
        assert self.shortlist is not None
        self.shortlist.copy_(tokens)

    def cross(self, states: Tensor) -> list[Memory]:
        """The encoder's states, `(batch, source, width)`, as keys and values of each layer."""
        return [layer.cross.memory(states) for layer in self._layers]

    def forward(
        self,
        tokens: Tensor,
        past: Sequence[Memory],
        cross: Sequence[Memory],
        mask: Tensor | None = None,
    ) -> tuple[Tensor, list[Memory]]:
        """The vectors behind the last layer, and keys and values of all tokens so far by layer.

        Args:
            tokens: int64 `(batch, new)`.
            past: of the tokens before them; empty for none.
            cross: of the source.
            mask: bool `(batch, source)`, False for padding; None when nothing is padded.

        Returns:
            `(batch, new, width)`, and a memory for each layer.
        """
        shape, before = self.shape, past[0][0].shape[2] if past else 0
        places = torch.arange(tokens.shape[1], device=tokens.device) + before
        x = self.embedding(tokens) * shape.embedding_scale
        if shape.positions != "relative":
            x = x + self.positions(places + shape.offset)
        x = functional.dropout(self.embedding_norm(x), shape.dropout, self.training)
        bias = self._bias(places, before + tokens.shape[1]).to(x.dtype)
        padding = None if mask is None else mask[:, None, None, :]
        present = []
        for i, layer in enumerate(self._layers):
            x, memory = layer(x, past[i] if past else None, cross[i], bias, padding)
            present.append(memory)
        return self.last_norm(x) * shape.score_scale, present

    def scores(
        self, vectors: Tensor, cross: Memory, source: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Scores of the next tokens: logits, or log-probabilities of a decoder that copies.

        Such a one mixes what it generates with what it points at in the source, and how much of
        each depends on the vector (See, Liu & Manning 2017, section 2.2).

        Args:
            vectors: `(batch, new, width)`, as `forward` gives them.
            cross: keys and values of the source, of the last layer.
            source: its token ids, int64 `(batch, source)`, `NOT_COPIED` for those that are not to
                be copied; None where the decoder does not copy.

        Returns:
            `(batch, new, vocabulary)`; and, where it copies, the share of the probability that
            comes from each place of the source, `(batch, new, source)`.
        """
        shape = self.shape
        weight = self.embedding.weight if shape.tied else self.output.weight
        if self.shortlist is not None:
            weight = weight[self.shortlist]
        logits = functional.linear(vectors, weight)
        if shape.score_bias:
            logits = logits + self.score_bias
        if not shape.copies or source is None:
            return self._spread(logits, _NEVER), None
        query = _split(self.pointer(vectors), shape)
        products = (query @ cross[0].transpose(2, 3)).sum(dim=1).float()
        copied = (source != NOT_COPIED)[:, None, :].to(products.dtype)
        products = products / math.sqrt(shape.heads * shape.head_size) - (1.0 - copied) * 1e9
        # Of a source without a token to copy nothing is left, and all is generated.
        some, gate = copied.amax(-1, keepdim=True), self.gate(vectors).float()
        # Not a sigmoid and 1 less it: that, and onnxruntime's, keep few digits of a small share.
        both = torch.softmax(torch.cat([gate, 0.0 * gate], dim=-1), dim=-1)
        copy, own = both[..., :1], both[..., 1:]
        share = torch.softmax(products, dim=-1) * copied * copy
        generated = torch.softmax(logits.float(), dim=-1) * (1.0 - some + some * own)
        ids = source.clamp(min=0)[:, None, :].expand(-1, vectors.shape[1], -1)
        every = self._spread(generated, 0.0).scatter_add(2, ids, share)
        return torch.log(every.clamp(min=_LEAST)), share

    def _spread(self, values: Tensor, other: float) -> Tensor:
        """Values of the tokens that are generated, at their places among all, `(…, vocabulary)`."""
        if self.shortlist is None:
            return values
        every = values.new_full((*values.shape[:-1], self.shape.vocabulary), other)
        return every.index_copy(2, self.shortlist, values)

    @property
    def _layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    def _bias(self, places: Tensor, tokens: int) -> Tensor:
        """What is added to products of queries at `places` and keys: no token sees a later one."""
        keys = torch.arange(tokens, device=places.device)
        distance = places[:, None] - keys[None, :]
        unseen = torch.zeros_like(distance, dtype=torch.float32).masked_fill(
            distance < 0, float("-inf")
        )
        if self.shape.positions != "relative":
            return unseen[None, None]
        assert self.distances is not None
        table = self.positions.weight[self.distances]
        return table[distance.clamp(0, self.shape.farthest)].permute(2, 0, 1)[None] + unseen


class DecoderLayer(nn.Module):
    """Attention to the answer so far, to the source, and a feed-forward part."""

    def __init__(self, shape: DecoderShape) -> None:
        """Make it with random weights."""
        super().__init__()
        self.shape = shape
        self.own, self.cross = Attention(shape), Attention(shape)
        self.inner = nn.Linear(shape.width, shape.inner, bias=shape.bias)
        if shape.gated:
            self.gate = nn.Linear(shape.width, shape.inner, bias=shape.bias)
        self.outer = nn.Linear(shape.inner, shape.width, bias=shape.bias)
        self.norms = nn.ModuleList([_norm(shape) for _ in range(3)])

    def forward(
        self,
        x: Tensor,
        past: Memory | None,
        source: Memory,
        bias: Tensor,
        padding: Tensor | None,
    ) -> tuple[Tensor, Memory]:
        """Vectors `(batch, new, width)` into the next ones, and the memory of all tokens so far."""
        read = self._before(0, x)
        present = self.own.memory(read)
        if past is not None:
            key, value = (torch.cat(two, dim=2) for two in zip(past, present, strict=True))
            present = key, value
        x = self._after(0, x, self.own(read, present, bias))
        x = self._after(1, x, self.cross(self._before(1, x), source, padding))
        read = self._before(2, x)
        inner = _ACTIVATIONS[self.shape.activation](self.inner(read))
        if self.shape.gated:
            inner = inner * self.gate(read)
        return self._after(2, x, self.outer(inner)), present

    def _before(self, part: int, x: Tensor) -> Tensor:
        read: Tensor = self.norms[part](x) if self.shape.norm_first else x
        return read

    def _after(self, part: int, x: Tensor, made: Tensor) -> Tensor:
        x = x + functional.dropout(made, self.shape.dropout, self.training)
        normed: Tensor = x if self.shape.norm_first else self.norms[part](x)
        return normed


class Attention(nn.Module):
    """Attention with its four linears."""

    def __init__(self, shape: DecoderShape) -> None:
        """Make it with random weights."""
        super().__init__()
        self.shape = shape
        inside = shape.heads * shape.head_size
        self.query = nn.Linear(shape.width, inside, bias=shape.bias)
        self.key = nn.Linear(shape.width, inside, bias=shape.bias)
        self.value = nn.Linear(shape.width, inside, bias=shape.bias)
        self.outer = nn.Linear(inside, shape.width, bias=shape.bias)

    def memory(self, x: Tensor) -> Memory:
        """Keys and values of `(batch, tokens, width)`."""
        return _split(self.key(x), self.shape), _split(self.value(x), self.shape)

    def forward(self, x: Tensor, memory: Memory, bias: Tensor | None) -> Tensor:
        """What `x`, `(batch, new, width)`, reads there.

        Args:
            x: vectors.
            memory: of the tokens that are attended to.
            bias: added to the products, or bool: False where nothing is attended to.
        """
        read = functional.scaled_dot_product_attention(
            _split(self.query(x), self.shape),
            *memory,
            attn_mask=bias,
            scale=self.shape.attention_scale,
        )
        made: Tensor = self.outer(read.transpose(1, 2).flatten(2))
        return made


class RmsNorm(nn.Module):
    """Division by the root mean square, as in T5."""

    def __init__(self, width: int, epsilon: float) -> None:
        """Make it with a weight of ones."""
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(…, width)`."""
        square = x.float().pow(2).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(square + self.epsilon)).to(x.dtype)


class Cross(nn.Module):
    """The module of the cross graph: states into keys and values, layer by layer."""

    def __init__(self, decoder: DecoderStack) -> None:
        """Use the layers of `decoder`."""
        super().__init__()
        self.decoder = decoder

    def forward(self, states: Tensor) -> tuple[Tensor, ...]:
        """`(batch, source, width)` into two arrays a layer, `(batch, heads, source, head_size)`."""
        return tuple(each for memory in self.decoder.cross(states) for each in memory)


class Step(nn.Module):
    """The module of the step graph: tokens and caches into the scores of what comes next."""

    def __init__(self, decoder: DecoderStack) -> None:
        """Use the layers of `decoder`."""
        super().__init__()
        self.decoder = decoder

    def forward(self, tokens: Tensor, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Scores, keys and values of all tokens so far, and with copies where the last came from.

        Args:
            tokens: int64 `(batch, new)`.
            arrays: keys and values of the past, layer by layer, then of the source, then with
                copies the source's token ids, int64 `(batch, source)`.

        Returns:
            `(batch, vocabulary)` for the last of the new tokens; keys and values, layer by layer;
            with copies the probability that comes from each place of the source, `(batch, source)`.
        """
        count = 2 * self.decoder.shape.layers
        past, cross = _paired(arrays[:count]), _paired(arrays[count : 2 * count])
        source = arrays[2 * count] if self.decoder.shape.copies else None
        vectors, present = self.decoder(tokens, past, cross)
        scores, copied = self.decoder.scores(vectors[:, -1:], cross[-1], source)
        made = (scores[:, 0], *(each for memory in present for each in memory))
        return made if copied is None else (*made, copied[:, 0])


def _paired(arrays: Sequence[Tensor]) -> list[Memory]:
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def _split(x: Tensor, shape: DecoderShape) -> Tensor:
    """`(batch, tokens, heads * head_size)` into `(batch, heads, tokens, head_size)`."""
    parts: Tensor = x.unflatten(-1, (shape.heads, shape.head_size))  # type: ignore[no-untyped-call]
    return parts.transpose(1, 2)


def _norm(shape: DecoderShape) -> nn.Module:
    if shape.norm == "rms":
        return RmsNorm(shape.width, shape.epsilon)
    return nn.LayerNorm(shape.width, eps=shape.epsilon)


def _buckets(shape: DecoderShape) -> Tensor | None:
    """The bucket of each distance of relative positions, up to the farthest; see Raffel 2020."""
    if shape.positions != "relative":
        return None
    distance = torch.arange(shape.farthest + 1)
    exact = shape.places // 2
    far = torch.log(distance.clamp(min=1).float() / exact) / math.log(shape.farthest / exact)
    far = exact + (far * (shape.places - exact)).to(torch.long)
    return torch.where(distance < exact, distance, far.clamp(max=shape.places - 1))
