"""Which graphs are tried, in which order, and when it is given up."""

import numpy as np
import pytest

from polyhead.bundle import HeadQuality
from polyhead_export.errors import GateError
from polyhead_export.gate import Limits, fallback_plans, select_plan
from polyhead_export.quality import GraphComparison, ModelAnswers

LINEARS = [f"linear.{i}" for i in range(36)]


def comparison(changed):
    quality = HeadQuality(
        split="validation", texts=500, agreement=1 - changed, max_logit_error=0.1, changed=changed
    )
    errors = {"topic": np.zeros(1, np.float32)}
    return GraphComparison(ModelAnswers({}, [], {}), {"topic": quality}, errors)


def test_the_plans_go_from_the_fastest_graph_to_the_most_exact():
    sizes = [(len(plan.per_row), len(plan.fp32)) for plan in fallback_plans(LINEARS)]
    assert sizes == [(0, 0), (5, 0), (18, 0), (36, 0), (31, 5), (27, 9), (18, 18)]


def test_the_worst_linears_are_treated_first():
    plans = fallback_plans(LINEARS)
    assert plans[1].per_row == set(LINEARS[:5])
    assert plans[4].fp32 == set(LINEARS[:5])
    assert plans[4].per_row == set(LINEARS[5:])
    assert plans[1].name == "per-row scales for the worst 5 of 36 linears"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_linears_have_fewer_and_different_plans(count):
    plans = fallback_plans(LINEARS[:count])
    assert len(set(plans)) == len(plans) <= 6
    assert all(len(plan.fp32) < count for plan in plans)


def test_it_ends_with_the_first_graph_that_passes(caplog):
    caplog.set_level("INFO", logger="polyhead_export")
    tried = []

    def compare(plan):
        tried.append(plan)
        return comparison(0.02 if len(tried) < 3 else 0.01)

    plans = fallback_plans(LINEARS)
    found = select_plan(plans, compare, Limits())
    assert tried == plans[:3]
    assert found.plan == plans[2]
    assert found.gate.per_row == tuple(sorted(LINEARS[:18]))
    assert [a.failed for a in found.gate.attempts] == [("topic",), ("topic",), ()]
    assert (found.gate.max_drop, found.gate.max_flips) == (0.5, 1.0)
    assert caplog.messages[0].endswith("most decisions changed 2.00%; beyond the limits: topic")
    assert caplog.messages[-1].endswith("passed")


def test_giving_up_shows_what_was_tried():
    with pytest.raises(GateError) as refused:
        select_plan(fallback_plans(LINEARS), lambda _: comparison(0.02), Limits())
    lines = str(refused.value).splitlines()
    assert "no graph keeps every head within 0.5 points and 1% of changed decisions" in lines[0]
    assert sum("  topic  " in line and line.endswith(" no") for line in lines) == 7
    assert "--max-drop" in lines[-1]
