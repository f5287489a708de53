"""Figures of label sets and of numbers."""

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import example, given
from hypothesis import strategies as st

from polyhead.heads import MultiLabel, Regression
from polyhead_models.metrics import METRICS

SETS, NUMBERS = METRICS["multilabel.v1"], METRICS["regression.v1"]
LABELS = ("a", "b", "c", "d")
PAIRS = st.lists(st.tuples(*[st.sets(st.sampled_from(LABELS))] * 2), min_size=1, max_size=12)
VALUES = st.lists(st.tuples(*[st.floats(-1e3, 1e3)] * 2), min_size=1, max_size=12)


def found(*sets):
    return [MultiLabel(tuple(sorted(labels)), {}) for labels in sets]


def numbers(*values):
    return [Regression(float(value)) for value in values]


def test_sets_by_hand():
    scores = SETS.score(found("ab", "", "c"), [("a",), ("b",), ("c",)])
    # Right: a and c; found: a, b, c; expected: a, b, c. F1 of a: 1, of b: 0, of c: 1.
    assert scores == pytest.approx(
        {"micro_f1": 2 / 3, "macro_f1": 2 / 3, "precision": 2 / 3, "recall": 2 / 3}
    )


@given(PAIRS)
def test_figures_of_sets_count_labels_that_are_right(pairs):
    right = sum(len(one & other) for one, other in pairs)
    given_, wanted = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
    by_label = [
        2 * sum(x in a and x in b for a, b in pairs) / sum((x in a) + (x in b) for a, b in pairs)
        for x in LABELS
        if any(x in a | b for a, b in pairs)
    ]
    sides = found(*(one for one, _ in pairs)), [tuple(sorted(other)) for _, other in pairs]
    assert SETS.score(*sides) == pytest.approx(
        {
            "micro_f1": 2 * right / max(1, given_ + wanted),
            "macro_f1": float(np.mean(by_label)) if by_label else 0.0,
            "precision": right / max(1, given_),
            "recall": right / max(1, wanted),
        }
    )


def test_sets_equal_scikit_learn():
    random = np.random.default_rng(6)
    answers, wanted = random.random((2, 100, 4)) < 0.3
    sides = [[tuple(np.array(LABELS)[row]) for row in side] for side in (answers, wanted)]
    table = sklearn.metrics.classification_report(
        wanted, answers, target_names=LABELS, output_dict=True, zero_division=0
    )
    scores = SETS.score(found(*sides[0]), sides[1])
    assert scores["macro_f1"] == pytest.approx(table["macro avg"]["f1-score"])
    micro = {name: table["micro avg"][name] for name in ("precision", "recall", "f1-score")}
    assert [scores["precision"], scores["recall"], scores["micro_f1"]] == pytest.approx(
        list(micro.values())
    )


@pytest.mark.parametrize(
    ("sets", "references"),
    [
        pytest.param(("", ""), [(), ()], id="nothing_at_all"),
        pytest.param(("", ""), [("a",), ()], id="nothing_found"),
        pytest.param(("ab", "b"), [(), ()], id="nothing_expected"),
    ],
)
def test_figures_without_a_right_label_are_zero(sets, references):
    assert set(SETS.score(found(*sets), references).values()) == {0.0}


def test_agreement_of_sets_is_the_share_of_equal_ones():
    one, other = found("ab", "", "c"), found("ab", "", "cd")
    assert SETS.agreement(one, one) == 1
    assert SETS.agreement(one, other) == pytest.approx(2 / 3)


def test_numbers_by_hand():
    scores = NUMBERS.score(numbers(1, 2, 6), [2.0, 2.0, 4.0])
    # Around their means: -2, -1, 3 and -2/3, -2/3, 4/3: product 6, squares 14 and 8/3.
    assert scores["pearson"] == pytest.approx(6 / math.sqrt(14 * 8 / 3))
    # Ranks 1, 2, 3 and 1.5, 1.5, 3.
    assert scores["spearman"] == pytest.approx(1.5 / math.sqrt(2 * 1.5))
    assert scores["mae"] == pytest.approx(1.0)
    assert scores["rmse"] == pytest.approx(math.sqrt(5 / 3))


def test_numbers_equal_scipy_and_scikit_learn():
    random = np.random.default_rng(7)
    a, b = random.normal(size=(2, 50))
    assert NUMBERS.score(numbers(*a), list(b)) == pytest.approx(
        {
            "pearson": scipy.stats.pearsonr(a, b).statistic,
            "spearman": scipy.stats.spearmanr(a, b).statistic,
            "mae": sklearn.metrics.mean_absolute_error(b, a),
            "rmse": math.sqrt(sklearn.metrics.mean_squared_error(b, a)),
        }
    )


@pytest.mark.parametrize(
    ("values", "references"),
    [
        pytest.param((3, 3, 3), [1.0, 2.0, 3.0], id="constant_results"),
        pytest.param((1, 2, 3), [3.0, 3.0, 3.0], id="constant_references"),
        pytest.param((3, 3), [3.0, 3.0], id="both"),
        pytest.param((1,), [2.0], id="one_text"),
    ],
)
def test_what_is_constant_has_no_correlation_and_no_warning(values, references):
    scores = NUMBERS.score(numbers(*values), references)
    assert (scores["pearson"], scores["spearman"]) == (0.0, 0.0)


def test_nearly_constant_results_are_no_warning():
    assert math.isfinite(NUMBERS.score(numbers(1e9, 1e9, 1e9 + 1e-6), [1.0, 2.0, 3.0])["pearson"])


def test_the_wrong_way_round_is_minus_one():
    scores = NUMBERS.score(numbers(3, 2, 1), [1.0, 2.0, 4.0])
    assert scores["pearson"] < -0.9
    assert scores["spearman"] == pytest.approx(-1)


def test_a_correlation_ignores_unit_and_offset_and_agreement_does_not():
    values = np.arange(5.0)
    assert NUMBERS.score(numbers(*(7 * values + 100)), list(values))["pearson"] == pytest.approx(1)
    one = numbers(*values)
    assert NUMBERS.agreement(one, one) == pytest.approx(1)
    # Concordance of x and x + 1: 2 var / (2 var + 1), with the variance 2.
    assert NUMBERS.agreement(one, numbers(*(values + 1))) == pytest.approx(4 / 5)
    # Of x and 2 x: 2 * 2 * 2 / (2 + 8 + (4 - 2) ** 2).
    assert NUMBERS.agreement(one, numbers(*(2 * values))) == pytest.approx(8 / 14)
    assert NUMBERS.agreement(one, numbers(*(-values))) == 0


@example([(0.0, 0.0), (0.0, 6e-259)])  # too small to be squared
@given(VALUES)
def test_agreement_of_numbers_is_between_0_and_1_and_goes_both_ways(pairs):
    one, other = (numbers(*(pair[side] for pair in pairs)) for side in (0, 1))
    found = NUMBERS.agreement(one, other)
    assert 0 <= found <= 1 + 1e-9
    assert NUMBERS.agreement(other, one) == pytest.approx(found)
    assert NUMBERS.agreement(one, one) == pytest.approx(1)


@pytest.mark.parametrize(
    ("one", "other", "agreement"),
    [
        ((5, 5), (5, 5), 1.0),
        ((5, 5), (6, 6), 0.0),
        ((5,), (5.00001,), 1.0),
        ((5, 5), (5, 6), 0.0),
    ],
    ids=["alike", "apart", "rounded", "one_side"],
)
def test_agreement_of_constant_numbers(one, other, agreement):
    assert NUMBERS.agreement(numbers(*one), numbers(*other)) == agreement
