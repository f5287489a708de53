"""Where layers, neurons and attention heads are in each family, and how to take some out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from polyhead_models.errors import ShrinkError

KEPT_HEADS = "kept_attention_heads"
"""The key that a Hugging Face configuration gets where there are fewer attention heads, of the same
width, than `num_attention_heads`, which the library divides the hidden width by."""

# What attention modules call it, by family and version of transformers; some forwards read it.
_HEAD_COUNTS = ("num_attention_heads", "num_heads", "n_heads")
_ALL_HEADS_WIDTHS = ("all_head_size", "dim")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names of modules and keys in one family.

    Attributes:
        layers: the list of layers, from the encoder on.
        to_neurons: linears whose outputs are the neurons, from a layer on; of a gated feed-forward
            part also the gate.
        ffn_out: the linear that reads the neurons.
        to_heads: linears whose outputs are attention heads side by side.
        attention_out: the linear that reads the heads' values.
        ffn: the configuration's key for the number of neurons.
        depth: its key for the number of layers.
        shared: whether all layers are one set of weights.
        heads_bound: why attention heads cannot be taken out; None where they can.
    """

    layers: str = "encoder.layer"
    to_neurons: tuple[str, ...] = ("intermediate.dense",)
    ffn_out: str = "output.dense"
    to_heads: tuple[str, ...]
    attention_out: str = "attention.output.dense"
    ffn: str = "intermediate_size"
    depth: str = "num_hidden_layers"
    shared: bool = False
    heads_bound: str | None = None


_BERT = Layout(to_heads=tuple(f"attention.self.{name}" for name in ("query", "key", "value")))
LAYOUTS = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), _BERT),
    "distilbert": Layout(
        layers="transformer.layer",
        to_neurons=("ffn.lin1",),
        ffn_out="ffn.lin2",
        to_heads=tuple(f"attention.{name}_lin" for name in "qkv"),
        attention_out="attention.out_lin",
        ffn="hidden_dim",
        depth="n_layers",
    ),
    "albert": Layout(
        layers="encoder.albert_layer_groups.0.albert_layers",
        to_neurons=("ffn",),
        ffn_out="ffn_output",
        to_heads=tuple(f"attention.{name}" for name in ("query", "key", "value")),
        attention_out="attention.dense",
        shared=True,
    ),
    "mpnet": Layout(
        to_heads=tuple(f"attention.attn.{name}" for name in "qkv"),
        attention_out="attention.attn.o",
        heads_bound="all its layers read one table of relative positions, a column for each head",
    ),
    "deberta-v2": Layout(
        to_heads=tuple(
            f"attention.self.{name}_proj"
            for name in ("query", "key", "value", "pos_key", "pos_query")
        ),
    ),
    "modernbert": Layout(
        layers="layers",
        to_neurons=("mlp.Wi",),
        ffn_out="mlp.Wo",
        to_heads=("attn.Wqkv",),
        attention_out="attn.Wo",
    ),
    "nomic_bert": Layout(
        layers="layers",
        to_neurons=("mlp.gate_proj", "mlp.up_proj"),
        ffn_out="mlp.down_proj",
        to_heads=tuple(f"self_attn.{name}_proj" for name in "qkv"),
        attention_out="self_attn.o_proj",
    ),
}


def layout_of(encoder: PreTrainedModel) -> Layout:
    """The layout of an encoder's family.

    Raises:
        ShrinkError: for other families, and for encoders with code of their own.
    """
    family = encoder.config.model_type
    known = LAYOUTS.get(family)
    if known is None or not type(encoder).__module__.startswith("transformers."):
        raise ShrinkError(
            f"encoder family {family!r} ({type(encoder).__module__}): found a family whose parts"
            f" are not known. Known, in the code of transformers: {', '.join(LAYOUTS)}."
        )
    return known


def layers_of(encoder: PreTrainedModel) -> nn.ModuleList:
    """The layers in order; of ALBERT the one that it runs again and again."""
    found = encoder.get_submodule(layout_of(encoder).layers)
    assert isinstance(found, nn.ModuleList)
    return found


def attention_heads(encoder: PreTrainedModel) -> int:
    """Attention heads a layer."""
    kept = getattr(encoder.config, KEPT_HEADS, None)
    return int(encoder.config.num_attention_heads if kept is None else kept)


def linear(layer: nn.Module, name: str) -> nn.Linear:
    """A linear of a layer by its name in a `Layout`."""
    found = layer.get_submodule(name)
    assert isinstance(found, nn.Linear)
    return found


def keep_neurons(encoder: PreTrainedModel, kept: Sequence[Tensor]) -> None:
    """Take all other neurons out, in place; the configuration says how many are left.

    Args:
        encoder: of a family in which that can be done.
        kept: for each layer which neurons stay, int64 `(neurons,)`, equally many in every layer.
    """
    layout = layout_of(encoder)
    for layer, neurons in zip(layers_of(encoder), kept, strict=True):
        _keep(layer, layout.to_neurons, layout.ffn_out, neurons)
    setattr(encoder.config, layout.ffn, len(kept[0]))


def keep_heads(encoder: PreTrainedModel, kept: Sequence[Tensor]) -> None:
    """Take all other attention heads out, in place; see `keep_neurons`."""
    layout, before = layout_of(encoder), attention_heads(encoder)
    for layer, heads in zip(layers_of(encoder), kept, strict=True):
        width = linear(layer, layout.attention_out).in_features // before
        channels = (heads[:, None] * width + torch.arange(width)).flatten()
        _keep(layer, layout.to_heads, layout.attention_out, channels)
        attention = layer.get_submodule(layout.to_heads[0].rpartition(".")[0])
        for names, number in ((_HEAD_COUNTS, len(heads)), (_ALL_HEADS_WIDTHS, len(channels))):
            for name in names:
                if hasattr(attention, name):
                    setattr(attention, name, number)
    setattr(encoder.config, KEPT_HEADS, len(kept[0]))


def _keep(layer: nn.Module, to: Iterable[str], out: str, kept: Tensor) -> None:
    """Keep these of what the linears `to` give and the linear `out` reads."""
    reads = linear(layer, out)
    here = dict(layer.named_modules())
    for name in to:
        if name not in here:
            continue  # DeBERTa's linears of positions, where those of texts do their work
        gives = linear(layer, name)
        # ModernBERT has values and gates, and queries, keys and values, in one linear each.
        blocks = range(0, gives.out_features, reads.in_features)
        rows = torch.cat([kept + first for first in blocks])
        gives.weight = nn.Parameter(gives.weight.detach()[rows])
        if gives.bias is not None:
            gives.bias = nn.Parameter(gives.bias.detach()[rows])
        gives.out_features = len(rows)
    reads.weight = nn.Parameter(reads.weight.detach().index_select(1, kept))
    reads.in_features = len(kept)
