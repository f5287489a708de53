"""What can be taken out of an encoder: layers, neurons between two linears, attention heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from polyhead_models import encoder as encoders
from polyhead_models import parts
from polyhead_models.errors import ShrinkError
from polyhead_models.parts import layers_of

__all__ = [
    "EncoderShape",
    "SubLayers",
    "check",
    "head_size",
    "layers_of",
    "masked",
    "narrowed",
    "needs_first",
    "shape_of",
    "sub_layers",
    "uncut",
]


_SHARED = "all its layers are one set of weights, run again and again"


@dataclass(frozen=True, kw_only=True)
class EncoderShape:
    """How much an encoder computes for each token.

    Attributes:
        layers: how many.
        ffn: neurons between the two feed-forward products of each layer.
        attention_heads: of each layer; their width never changes.
    """

    layers: int
    ffn: int
    attention_heads: int


@dataclass(frozen=True)
class SubLayers:
    """The linears at the end of a layer's two halves.

    A mask multiplies their inputs; their outputs are what can be fitted again.

    Attributes:
        ffn_out: reads the neurons, `(batch, tokens, ffn)`.
        attention_out: reads the values of the attention heads side by side.
    """

    ffn_out: nn.Linear
    attention_out: nn.Linear


def shape_of(encoder: PreTrainedModel) -> EncoderShape:
    """The shape of an encoder.

    Raises:
        ShrinkError: where the parts of its family are not known.
    """
    return EncoderShape(
        layers=encoder.config.num_hidden_layers,
        ffn=getattr(encoder.config, parts.layout_of(encoder).ffn),
        attention_heads=parts.attention_heads(encoder),
    )


def sub_layers(encoder: PreTrainedModel) -> list[SubLayers]:
    """The linears at the end of each layer's halves, one pair a layer.

    Raises:
        ShrinkError: where the layers are one set of weights, or not known.
    """
    layout, layers = parts.layout_of(encoder), layers_of(encoder)
    if layout.shared:
        raise ShrinkError(
            f"encoder family {encoder.config.model_type!r}: {_SHARED}, so that no layer has neurons"
            " or attention heads of its own. Take out whole layers only."
        )
    return [
        SubLayers(
            parts.linear(layer, layout.ffn_out),
            parts.linear(layer, layout.attention_out),
        )
        for layer in layers
    ]


def uncut(encoder: PreTrainedModel) -> dict[str, int]:
    """The parts that no student of this encoder has fewer of, by the field of `EncoderShape`."""
    shape = shape_of(encoder)
    return {part: getattr(shape, part) for part in _reasons(encoder)}


def _reasons(encoder: PreTrainedModel) -> dict[str, str]:
    """Why a part cannot be cut, for those that cannot."""
    layout, found = parts.layout_of(encoder), {}
    if layout.heads_bound is not None:
        found["attention_heads"] = layout.heads_bound
    if layout.shared:
        found |= dict.fromkeys(("ffn", "attention_heads"), _SHARED)
    if (groups := getattr(encoder.config, "num_hidden_groups", 1)) > 1:
        found["layers"] = f"its {groups} groups of layers are spread evenly over their number"
    return found


def head_size(encoder: PreTrainedModel) -> int:
    """Channels of an attention head."""
    layout = parts.layout_of(encoder)
    channels = parts.linear(layers_of(encoder)[0], layout.attention_out).in_features
    return channels // parts.attention_heads(encoder)


def needs_first(encoder: PreTrainedModel) -> bool:
    """Whether layer 0 has to stay, since the family builds its first layer unlike the others.

    ModernBERT normalises before the attention of every layer but the first; some DeBERTa have a
    convolution beside it.
    """
    config: Any = encoder.config
    return config.model_type == "modernbert" or bool(getattr(config, "conv_kernel_size", 0))


def check(encoder: PreTrainedModel, wanted: EncoderShape) -> None:
    """Hold a shape against what can be made of an encoder.

    Raises:
        ShrinkError: when it is larger than the encoder, or empty, or the family cannot have it.
    """
    found, reasons = shape_of(encoder), _reasons(encoder)
    family = f"encoder family {encoder.config.model_type!r}"
    for field in fields(EncoderShape):
        name = field.name.replace("_", " ")
        asked, most = getattr(wanted, field.name), getattr(found, field.name)
        if not 1 <= asked <= most:
            raise ShrinkError(f"{name} = {asked}: this encoder has {most}. Give 1 to {most}.")
        if asked < most and (reason := reasons.get(field.name)) is not None:
            raise ShrinkError(
                f"{name} = {asked}: in {family} {reason}. Give {most}, as this encoder has."
            )


@contextmanager
def masked(
    encoder: PreTrainedModel, *, neurons: Tensor | None = None, heads: Tensor | None = None
) -> Iterator[None]:
    """Multiply neurons and the values of attention heads while the context is open.

    Gradients reach the masks. A mask of 0 and 1 gives what `narrowed` computes.

    Args:
        encoder: changed by hooks only, which go with the context.
        neurons: `(layers, ffn)`; None for no mask.
        heads: `(layers, attention_heads)`; None for no mask.

    Raises:
        ShrinkError: where the layers are one set of weights, or not known.
    """
    handles = []
    try:
        for number, ends in enumerate(sub_layers(encoder)):
            for linear, mask in ((ends.ffn_out, neurons), (ends.attention_out, heads)):
                if mask is not None:
                    hook = _multiply(mask, number)
                    handles.append(linear.register_forward_pre_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _multiply(mask: Tensor, number: int) -> Callable[[nn.Module, tuple[Any, ...]], Tensor]:
    def hook(_: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
        values: Tensor = inputs[0]
        # Anew in each pass, so that each can have a backward pass of its own.
        return values * mask[number].repeat_interleave(values.shape[-1] // mask.shape[1])

    return hook


def narrowed(
    encoder: PreTrainedModel,
    *,
    layers: Sequence[int],
    neurons: Sequence[Tensor] | None = None,
    heads: Sequence[Tensor] | None = None,
) -> PreTrainedModel:
    """A new encoder of some layers, and of each some neurons and attention heads.

    It has copies of the weights, on the CPU; `encoder` stays as it is. `encoders.build` builds its
    shape from what `encoders.settings` says of it.

    Args:
        encoder: may be narrowed already.
        layers: which layers stay, ascending; of ALBERT only their number counts.
        neurons: of each layer that stays, int64, ascending, equally many everywhere; None for all.
        heads: the same for attention heads.

    Raises:
        ShrinkError: when the shape cannot be made, see `check`, or a layer does not stay that has
            to.
        ValueError: when the layers would have different widths.
    """
    if any(len({len(of_layer) for of_layer in kept or ()}) > 1 for kept in (neurons, heads)):
        raise ValueError("neurons and heads: expected equally many in every layer")
    shape = shape_of(encoder)
    wanted = EncoderShape(
        layers=len(layers),
        ffn=shape.ffn if neurons is None else len(neurons[0]),
        attention_heads=shape.attention_heads if heads is None else len(heads[0]),
    )
    check(encoder, wanted)
    made = _with_layers(encoder, layers)
    if neurons is not None and wanted.ffn < shape.ffn:
        parts.keep_neurons(made, neurons)
    if heads is not None and wanted.attention_heads < shape.attention_heads:
        parts.keep_heads(made, heads)
    made.train(encoder.training)
    return made


def _with_layers(encoder: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    has = encoder.config.num_hidden_layers
    if list(layers) != sorted(set(layers) & set(range(has))):
        raise ShrinkError(
            f"layers {_listed(layers)}: this encoder has {has}. Name some of 0 to {has - 1},"
            " ascending."
        )
    if needs_first(encoder) and layers[0] != 0:
        raise ShrinkError(
            f"layers {_listed(layers)}: in encoder family"
            f" {encoder.config.model_type!r} the first layer is unlike the others. Keep layer 0."
        )
    layout = parts.layout_of(encoder)
    changed = {layout.depth: len(layers), **_kinds(encoder, layers)}
    made = encoders.build(encoders.settings(encoder) | changed)
    weights = dict(encoder.state_dict())
    if not layout.shared:
        weights = {n: t for n, t in weights.items() if not n.startswith(f"{layout.layers}.")}
        for place, number in enumerate(layers):
            prefix = f"{layout.layers}.{place}."
            weights |= layers_of(encoder)[number].state_dict(prefix=prefix)
    made.load_state_dict(weights)
    return made


def _listed(layers: Sequence[int]) -> str:
    return ", ".join(map(str, layers))


def _kinds(encoder: PreTrainedModel, layers: Sequence[int]) -> dict[str, list[str]]:
    """The key for the kinds of layers, where a family has several."""
    kinds = getattr(encoder.config, "layer_types", None)
    if kinds is not None:
        return {"layer_types": [kinds[number] for number in layers]}
    # The ModernBERT of transformers 4 goes by the number alone.
    every = getattr(encoder.config, "global_attn_every_n_layers", 1)
    if any(bool(number % every) != bool(place % every) for place, number in enumerate(layers)):
        raise ShrinkError(
            f"layers {_listed(layers)}: in transformers 4 every {every}th layer from 0 on reads the"
            " whole text and the others a window; some of these would change. Keep others, such as"
            " the first ones, or install transformers 5."
        )
    return {}
