"""From a target speed-up to shapes, before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import groupby, product

from polyhead_models.errors import ShrinkError
from polyhead_models.shrinking.anatomy import EncoderShape
from polyhead_models.shrinking.cost import LayerCosts, attention_sizes, ffn_sizes

_FEWEST = 2  # layers, unless fewer are asked for, or there are no more


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A shape that a student may get.

    Attributes:
        shape: how much it computes.
        speed_up: the teacher's time over its own, of the whole graph.
        kept: share of the weights of the teacher's layers that it has.
    """

    shape: EncoderShape
    speed_up: float
    kept: float


def candidates(
    teacher: EncoderShape,
    costs: LayerCosts,
    *,
    head_size: int,
    speed_up: float = 1.0,
    layers: int | None = None,
    ffn: int | None = None,
    attention_heads: int | None = None,
) -> list[Candidate]:
    """Shapes that reach a speed-up, best first: one for each number of layers.

    A shape has a share of the teacher's layers, of its neurons and of its attention heads. The
    better one of two is that whose smallest share is larger, then the next, so that no part is cut
    more than it has to be. Behind all others are those of less than half of the layers: the fewer
    are left, the more each of them counts (stsb-roberta-base, 12 layers cut to 4, 3, 2 and 1, lost
    0.5, 1.1, 2.1 and 4.6 points; sentence-transformers, ``training/distillation/README.md``).

    Args:
        teacher: what is to be cut.
        costs: measured for the teacher, by `polyhead_models.shrinking.cost.layer_costs`.
        head_size: channels of an attention head, which stay.
        speed_up: the teacher's time over the student's, at least.
        layers: fixes the number of layers, to what `anatomy.check` takes; so do the next two.
        ffn: neurons in each.
        attention_heads: of each.

    Raises:
        ShrinkError: when no shape is as fast, with the most that can be asked for.
    """
    numbers = attention_sizes(teacher.attention_heads, head_size)
    shapes = product(
        [layers] if layers else range(min(_FEWEST, teacher.layers), teacher.layers + 1),
        [ffn] if ffn else ffn_sizes(teacher.ffn),
        [attention_heads] if attention_heads else numbers,
    )
    found = [
        _candidate(teacher, EncoderShape(layers=n, ffn=f, attention_heads=h), costs, head_size)
        for n, f, h in shapes
    ]
    reached = [candidate for candidate in found if candidate.speed_up >= speed_up]
    if not reached:
        fastest = max(found, key=lambda candidate: candidate.speed_up)
        most, shape = math.floor(fastest.speed_up * 10) / 10, fastest.shape
        raise ShrinkError(
            f"No student is {speed_up:g} times as fast as its teacher. The fastest, {shape.layers}"
            f" layers with {shape.ffn} neurons and {shape.attention_heads} attention heads each, is"
            f" {most:g} times as fast: ask for at most that."
        )
    rank = partial(_rank, teacher)
    by_depth = groupby(reached, key=lambda candidate: candidate.shape.layers)
    return sorted((max(same, key=rank) for _, same in by_depth), key=rank, reverse=True)


def _candidate(
    teacher: EncoderShape, shape: EncoderShape, costs: LayerCosts, head_size: int
) -> Candidate:
    speed_up = costs.seconds(teacher) / costs.seconds(shape)
    kept = _channels(shape, head_size) / _channels(teacher, head_size)
    return Candidate(shape=shape, speed_up=speed_up, kept=kept)


def _channels(shape: EncoderShape, head_size: int) -> int:
    """The weights of all layers over `hidden`: four products around attention, two in the FFN."""
    return shape.layers * (4 * shape.attention_heads * head_size + 2 * shape.ffn)


def _rank(teacher: EncoderShape, candidate: Candidate) -> tuple[bool, list[float]]:
    shape = candidate.shape
    depth = shape.layers / teacher.layers
    neurons = shape.ffn / teacher.ffn
    heads = shape.attention_heads / teacher.attention_heads
    return depth >= 0.5, sorted([depth, neurons, heads])
