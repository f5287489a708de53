"""What of an encoder stays: neurons and attention heads by importance, layers by a short trial.

Then the weights behind what stays are fitted to what the whole encoder gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from polyhead.heads import HeadSpec
from polyhead_models.model import MultiHeadModel
from polyhead_models.shrinking import anatomy
from polyhead_models.shrinking.anatomy import EncoderShape

Batch = Mapping[str, Any]

_RIDGE = 1e-3  # of the mean square of what is fitted to


@dataclass(frozen=True)
class Importance:
    """How much the answers change with each part.

    Attributes:
        neurons: float32 `(layers, ffn)`.
        heads: float32 `(layers, attention heads)`.
    """

    neurons: Tensor
    heads: Tensor

    def best(self, shape: EncoderShape, layer: int) -> tuple[Tensor, Tensor]:
        """The neurons and heads of a layer that stay, sorted int64 indices."""
        chosen = (
            torch.topk(of_layer[layer], count).indices.sort().values
            for of_layer, count in ((self.neurons, shape.ffn), (self.heads, shape.attention_heads))
        )
        neurons, heads = chosen
        return neurons, heads


def importance(model: MultiHeadModel, batches: Iterable[Batch], *, seed: int = 0) -> Importance:
    """Fisher information of masks over neurons and attention heads (Kwon et al. 2022, section 4.1).

    Of the last hidden states, as Gaussians around what they are, and of each head, whose labels are
    drawn from its own answers; each divided by its mean. The gradients of draws that are
    independent from token to token add up in squares, so that a whole batch is one backward pass.

    Args:
        model: in evaluation mode; its weights stay as they are.
        batches: `input_ids`, `attention_mask` and, where the model reads them, `token_type_ids`.
        seed: of the draws.
    """
    shape = anatomy.shape_of(model.encoder)
    random = torch.Generator().manual_seed(seed)
    found: dict[str, list[Tensor]] = {}
    for batch in batches:
        masks = [
            torch.ones(shape.layers, count, requires_grad=True)
            for count in (shape.ffn, shape.attention_heads)
        ]
        with anatomy.masked(model.encoder, neurons=masks[0], heads=masks[1]):
            states, logits = states_and_logits(model, batch)
            real = batch["attention_mask"].bool()
            parts = {"": torch.randn(states[-1].shape, generator=random)[real] * states[-1][real]}
            for name, spec in model.specs.items():
                own = logits[name] if spec.pooling else logits[name][real]
                parts[name] = _drawn(spec, own, random) * own
        for name, part in parts.items():
            gradients = torch.autograd.grad(part.sum(), masks, retain_graph=True, allow_unused=True)
            squares = [
                torch.zeros_like(mask) if gradient is None else gradient**2
                for mask, gradient in zip(masks, gradients, strict=True)
            ]
            before = found.get(name, [torch.zeros_like(mask) for mask in masks])
            found[name] = [a + b for a, b in zip(before, squares, strict=True)]
    neurons, heads = (
        torch.stack([of_part[i] / of_part[i].mean().clamp_min(1e-30) for of_part in found.values()])
        for i in (0, 1)
    )
    return Importance(neurons.sum(dim=0), heads.sum(dim=0))


def _drawn(spec: HeadSpec, logits: Tensor, random: torch.Generator) -> Tensor:
    """Gradient of the loss by the logits for a label that is drawn from them."""
    flat = logits.detach()
    if spec.activation == "softmax":
        chances = torch.softmax(flat, dim=-1)
        labels = torch.multinomial(chances.flatten(0, -2), 1, generator=random)
        return chances - nn.functional.one_hot(labels.view(flat.shape[:-1]), flat.shape[-1])
    if spec.activation == "sigmoid":
        chances = torch.sigmoid(flat)
        return chances - torch.bernoulli(chances, generator=random)
    return torch.randn(flat.shape, generator=random)


def states_and_logits(
    model: MultiHeadModel, batch: Batch
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """All hidden states, `(batch, tokens, width)`, embeddings first, and the logits by head."""
    keys = ("input_ids", "attention_mask", "token_type_ids")
    output = model.encoder(**{k: batch[k] for k in keys if k in batch}, output_hidden_states=True)
    # Some families normalise once more after their last layer; that is what a head reads.
    states = (*output.hidden_states[:-1], output.last_hidden_state)
    mask = batch["attention_mask"]
    return states, {name: head(states, mask) for name, head in model.networks.items()}


Moments = Sequence[tuple[Tensor, Tensor]]
"""Of each layer, of what goes into the linear behind its neurons and that behind its heads."""


def moments(encoder: PreTrainedModel, batches: Iterable[Batch]) -> Moments:
    """Second moments of what goes into each sub-layer's last linear, and of a 1 for the bias.

    Args:
        encoder: in evaluation mode.
        batches: as for `importance`.

    Returns:
        Float64 `(in + 1, in + 1)` each, sums over all tokens.
    """
    linears = [x for own in anatomy.sub_layers(encoder) for x in (own.ffn_out, own.attention_out)]
    sizes = [linear.in_features + 1 for linear in linears]
    found = [torch.zeros(size, size, dtype=torch.float64) for size in sizes]
    keys = ("input_ids", "attention_mask", "token_type_ids")
    for batch in batches:
        real = batch["attention_mask"].bool()
        with _inputs(linears) as seen, torch.inference_mode():
            encoder(**{key: batch[key] for key in keys if key in batch})
        for linear, moment in zip(linears, found, strict=True):
            rows = nn.functional.pad(seen[linear][real], (0, 1), value=1.0)
            moment += (rows.T @ rows).double()
    return list(zip(found[::2], found[1::2], strict=True))


@contextmanager
def _inputs(linears: Sequence[nn.Linear]) -> Iterator[dict[nn.Module, Tensor]]:
    seen: dict[nn.Module, Tensor] = {}

    def see(linear: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen[linear] = given[0]

    hooks = [linear.register_forward_pre_hook(see) for linear in linears]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def fitted(
    encoder: PreTrainedModel,
    kept: Sequence[tuple[Tensor, Tensor]],
    found: Moments,
    layers: Sequence[int],
) -> PreTrainedModel:
    """The narrowed encoder, its weights behind neurons and heads fitted to the whole one's outputs.

    Ridge regression towards the weights that were there, so that the error on the texts of the
    moments is never larger: least squares of `x W` against the sub-layer's output, plus λ times the
    squared change of W.

    Args:
        encoder: the whole one.
        kept: neurons and attention heads that stay, for each of its layers.
        found: its moments.
        layers: those that stay.
    """
    small = anatomy.narrowed(
        encoder,
        layers=layers,
        neurons=[kept[i][0] for i in layers],
        heads=[kept[i][1] for i in layers],
    )
    whole, count = anatomy.sub_layers(encoder), anatomy.shape_of(encoder).attention_heads
    for made, i in zip(anatomy.sub_layers(small), layers, strict=True):
        own, (neurons, heads) = whole[i], kept[i]
        size = own.attention_out.in_features // count
        columns = (heads[:, None] * size + torch.arange(size)).flatten()
        _fit(own.ffn_out, neurons, found[i][0], made.ffn_out)
        _fit(own.attention_out, columns, found[i][1], made.attention_out)
    return small


def _fit(whole: nn.Linear, columns: Tensor, moment: Tensor, narrow: nn.Linear) -> None:
    """Change the narrow linear in place."""
    columns = torch.cat([columns, torch.tensor([whole.in_features])])
    bias = torch.zeros(whole.out_features) if whole.bias is None else whole.bias
    weights = torch.cat([whole.weight, bias[:, None]], dim=1).detach().double()
    own = moment[columns][:, columns]
    ridge = _RIDGE * own.diagonal().mean() * torch.eye(len(columns), dtype=torch.float64)
    wanted = moment[columns] @ weights.T + ridge @ weights[:, columns].T
    solved = torch.linalg.solve(own + ridge, wanted).T
    with torch.no_grad():
        narrow.weight.copy_(solved[:, :-1])
        if narrow.bias is not None:
            narrow.bias.copy_(solved[:, -1])


def layer_choices(depth: int, count: int) -> list[tuple[int, ...]]:
    """Choices of `count` of `depth` layers to try: spread from end to end, every n-th, early, late.

    The first layer always stays: it reads what the embeddings give.
    """
    last = depth - 1
    if count == depth:
        return [tuple(range(depth))]
    if count == 1:
        return [(0,), (last,)]
    spread = [last * i / (count - 1) for i in range(count)]
    found = {
        tuple(int(x) for x in spread),
        tuple(-int(-x // 1) for x in spread),
        tuple(round(depth * i / count) for i in range(count)),
        tuple(range(count)),
        (*range(count - 1), last),
        (0, *range(depth - count + 1, depth)),
    }
    return sorted(choice for choice in found if len(set(choice)) == count)
