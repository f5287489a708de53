"""From a target speed-up to shapes, over costs that are known."""

import pytest

from polyhead_models.errors import ShrinkError
from polyhead_models.shrinking.anatomy import EncoderShape
from polyhead_models.shrinking.cost import LayerCosts, attention_sizes, ffn_sizes
from polyhead_models.shrinking.plan import candidates

TEACHER = EncoderShape(layers=6, ffn=1536, attention_heads=12)
# A neuron takes one unit, an attention head 64; 2,304 a layer.
COSTS = LayerCosts(attention={1: 64, 12: 768}, ffn={64: 64, 1536: 1536}, rest=100)


def planned(costs=COSTS, **asked):
    return candidates(TEACHER, costs, head_size=32, **asked)


def shapes(found):
    return [(c.shape.layers, c.shape.ffn, c.shape.attention_heads) for c in found]


def test_without_a_target_the_teacher_itself_comes_first():
    first = planned()[0]
    assert first.shape == TEACHER
    assert (first.speed_up, first.kept) == (1, 1)


@pytest.mark.parametrize("target", [1.3, 2.0, 2.5, 4.0])
def test_every_candidate_reaches_the_target_with_sizes_that_are_allowed(target):
    found = planned(speed_up=target)
    whole = COSTS.seconds(TEACHER)
    assert found
    for candidate in found:
        shape = candidate.shape
        assert candidate.speed_up == whole / COSTS.seconds(shape) >= target
        assert shape.ffn in ffn_sizes(1536)
        assert shape.attention_heads in attention_sizes(12, 32)
        assert 2 <= shape.layers <= 6


def test_there_is_one_candidate_of_each_depth():
    depths = [candidate.shape.layers for candidate in planned(speed_up=2.5)]
    assert sorted(depths) == [2, 3, 4, 5, 6]


def test_of_one_depth_the_part_that_is_cut_most_is_cut_least():
    # 100 + 3 * (1024 + 10 * 64) = 5,092, of 13,924; with 8 heads there is room for 1,152 neurons,
    # with 12 for 896.
    assert shapes(planned(speed_up=2.73, layers=3)) == [(3, 1024, 10)]


def test_the_depth_that_cuts_nothing_much_more_than_the_others_comes_first():
    assert shapes(planned(speed_up=2.73))[:2] == [(3, 1024, 10), (4, 832, 6)]


def test_less_than_half_of_the_layers_comes_last():
    assert planned(speed_up=2.5)[-1].shape.layers == 2


def test_what_stays_once_is_counted():
    heavy = LayerCosts(attention=COSTS.attention, ffn=COSTS.ffn, rest=3000)
    light = planned(speed_up=2.5, layers=3)[0]
    assert planned(heavy, speed_up=2.5, layers=3)[0].kept < light.kept


def test_fixed_parts_leave_the_others_free():
    assert shapes(planned(layers=3, ffn=512)) == [(3, 512, 12)]
    assert shapes(planned(layers=3, ffn=512, attention_heads=8)) == [(3, 512, 8)]
    found = planned(speed_up=2.5, attention_heads=12)
    assert {heads for _, _, heads in shapes(found)} == {12}


def test_the_share_of_the_weights_that_is_kept():
    (candidate,) = planned(layers=3, ffn=512, attention_heads=8)
    assert candidate.kept == pytest.approx(3 * (4 * 256 + 2 * 512) / (6 * (4 * 384 + 2 * 1536)))


@pytest.mark.parametrize(
    ("fixed", "most"),
    [({}, "28.7"), ({"layers": 3, "ffn": 512}, "6.8"), ({"attention_heads": 12}, "7.8")],
    ids=["nothing fixed", "two fixed", "one fixed"],
)
def test_a_target_that_no_shape_reaches_is_refused_with_one_that_can_be_asked_for(fixed, most):
    with pytest.raises(ShrinkError, match=rf"99 times .* {most} times as fast: ask"):
        planned(speed_up=99, **fixed)
    assert planned(speed_up=float(most), **fixed)


def test_a_teacher_of_one_layer_keeps_it():
    one = EncoderShape(layers=1, ffn=128, attention_heads=2)
    found = candidates(one, COSTS, head_size=32)
    assert shapes(found) == [(1, 128, 2)]
