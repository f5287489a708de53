"""Which graphs are tried, in which order, which is taken, and when it is given up."""

import pytest

from polyhead.bundle import HeadQuality
from polyhead_export.decisions import Changes
from polyhead_export.errors import GateError
from polyhead_export.gate import Limits, judge, select_plan
from polyhead_export.plans import FLOAT, by_effect, float_plans, per_row_plans
from polyhead_export.quality import GraphComparison
from polyhead_export.quantisation.calibrate import Calibrated, CalibratedPoint, Plan
from polyhead_export.quantisation.search import Setting

LINEARS = [f"linear.{i}" for i in range(36)]
FLIPS = Limits(max_flips=1.0)
TEXTS = 1000


def comparison(changed, texts=TEXTS):
    """`changed` decisions of `texts` differ."""
    found = Changes(changed, texts)
    quality = HeadQuality(
        split="validation",
        texts=texts,
        agreement=1 - found.share,
        max_logit_error=0.1,
        changed=found.share,
        decisions=texts,
        changed_interval=found.interval,
    )
    return GraphComparison({}, {"topic": quality})


def selecting(changes, stages=None, texts=TEXTS):
    """What is selected, and how many graphs were tried, where these many decisions change."""
    left = iter(changes)
    stages = [lambda _: per_row_plans(LINEARS)] if stages is None else stages
    found = select_plan(Plan(), stages, lambda _: comparison(next(left), texts), FLIPS)
    return found, len(found.gate.attempts)


def test_per_row_plans_go_from_the_fastest_graph_to_the_most_exact():
    plans = per_row_plans(LINEARS)
    assert [len(plan.per_row) for plan in plans] == [5, 18, 36]
    assert plans[0].per_row == set(LINEARS[:5])
    assert plans[0].name == "per-row scales for the worst 5 of 36 linears"


def test_float_plans_keep_the_other_linears_of_the_best_plan():
    plans = float_plans(LINEARS, Plan(per_row=frozenset(LINEARS)))
    assert [(len(plan.per_row), len(plan.fp32)) for plan in plans] == [(31, 5), (27, 9), (18, 18)]
    assert plans[0].fp32 == set(LINEARS[:5])
    name = "fp32 for the worst 5 of 36 linears, per-row scales for the others"
    assert (plans[0].name, plans[0].precision) == (name, "int8")
    static = float_plans(LINEARS, Plan())
    assert [(len(plan.per_row), len(plan.fp32)) for plan in static] == [(0, 5), (0, 9), (0, 18)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_linears_have_fewer_and_different_plans(count):
    plans = [*per_row_plans(LINEARS[:count]), *float_plans(LINEARS[:count], Plan())]
    assert len(set(plans)) == len(plans) <= 5
    assert all(len(plan.fp32) < count for plan in plans)


def test_linears_are_ordered_by_what_they_do_to_decisions_and_not_by_their_output_error():
    def point(name, error):
        setting = Setting(None, None, (error, error), {}, 0.0, 1.0)
        return CalibratedPoint((f"{name}.a", f"{name}.b"), setting, lambda: setting)

    points = {name: point(name, error) for name, error in (("x", 0.3), ("y", 0.2), ("z", 0.1))}
    asked = []

    def disturbance(plan):
        asked.append(plan)
        return {"x.a": 0.5, "y.a": 0.1, "z.a": 0.3}[min(plan.fp32)]

    base = Plan(per_row=frozenset({"x.a", "x.b", "y.a"}))
    found = by_effect(Calibrated(None, points), base, disturbance)
    assert found == ["y.a", "y.b", "z.a", "z.b", "x.a", "x.b"]
    assert asked[0] == Plan(frozenset({"y.a"}), frozenset({"x.a", "x.b"}))


def test_the_first_graph_within_the_limits_is_taken(caplog):
    caplog.set_level("INFO", logger="polyhead_export")
    found, tried = selecting([30, 20, 2])
    assert tried == 3
    assert found.gate.per_row == tuple(sorted(LINEARS[:18]))
    assert [a.failed for a in found.gate.attempts] == [("topic",), ("topic",), ()]
    assert found.gate.attempt is found.gate.attempts[2]
    limits = (found.gate.max_drop, found.gate.max_flips, found.gate.tie_margin)
    assert limits == (0.5, 1.0, 0.05)
    assert caplog.messages[0].endswith("most decisions changed 3.00%; beyond the limits: topic")
    assert found.outcome == (
        "taken: per-row scales for the worst 18 of 36 linears, since static scales lose too much"
        " of topic; every head passes"
    )


def test_the_best_graph_is_taken_where_none_is_within_the_limits():
    """All are uncertain; the third is the nearest, and the last stage ends without a fourth."""
    found, tried = selecting([14, 13, 11, 12])
    assert tried == 4
    assert found.gate.selected == 2
    assert found.plan == per_row_plans(LINEARS)[1]
    assert found.outcome.endswith("uncertain: topic")


def test_an_uncertain_graph_with_measured_values_within_the_limits_is_taken_at_once():
    found, tried = selecting([0], texts=5)
    assert (tried, found.plan) == (1, Plan())
    assert found.gate.attempt.uncertain == ("topic",)
    assert found.outcome == "taken: static scales; uncertain: topic"


def test_a_stage_ends_when_two_plans_in_a_row_are_no_better():
    asked = []

    def second(best):
        asked.append(best.plan)
        return [Plan(fp32=frozenset({"x"}), name="float")]

    found, tried = selecting([14, 15, 15, 3], [lambda _: per_row_plans(LINEARS), second])
    assert tried == 4  # static, two per row, float
    assert asked == [Plan()]
    assert found.plan.name == "float"


def test_the_float_graph_is_the_last_resort_and_the_nearest_int8_is_named():
    stages = [lambda _: per_row_plans(LINEARS), lambda best: [FLOAT] if best.attempt.failed else []]
    found, tried = selecting([40, 31, 26, 29, 0], stages)
    assert (tried, found.plan) == (5, FLOAT)
    assert found.outcome == (
        "taken: fp32, since int8 fails for topic (nearest: per-row scales for the worst 18 of 36"
        " linears; --precision int8 --max-flips 2.6 takes it); every head passes"
    )


def test_giving_up_shows_what_was_tried_and_the_flags_that_take_the_nearest():
    with pytest.raises(GateError) as refused:
        selecting([40, 31, 26, 29])
    lines = str(refused.value).splitlines()
    assert "no graph keeps every head within 0.5 points and 1% of changed decisions" in lines[0]
    assert sum("  topic  " in line and line.endswith(" fail") for line in lines) == 4
    assert "--precision int8 --max-flips 2.6 takes it" in lines[-1]
    named = Limits(max_flips=2.6)
    assert not judge("again", comparison(26).quality, named).failed
