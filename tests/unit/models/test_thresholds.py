import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from polyhead.heads import HeadSpec, decoder
from polyhead.heads.base import sigmoid
from polyhead.text.encoding import Encoding
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.multilabel import best_thresholds

LABELS = ("angry", "damaged", "late")
SPEC = HeadSpec(kind="multilabel.v1", output="logits/x", labels=LABELS, max_tokens=16)
WINDOW = Encoding("", np.array([2, 3]), np.zeros((2, 2), np.int64), np.array([True, True]))
# Few different values, so that many are equal.
SCORED = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]) | st.floats(0, 1), st.booleans()),
    min_size=1,
    max_size=25,
)
STEPS = st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9])


def decoded(spec, logits):
    """The results of a text for each row of logits."""
    return [decoder("x", spec).decode(row, WINDOW) for row in logits]


def f1(scores, expected, threshold):
    taken = np.asarray(scores) >= threshold
    return 2 * (taken & expected).sum() / max(1, taken.sum() + np.sum(expected))


def best(*pairs):
    scores, expected = zip(*pairs, strict=True)
    (found,) = best_thresholds(np.array(scores)[:, None], np.array(expected)[:, None])
    return found


@given(SCORED)
def test_no_other_threshold_has_a_higher_f1(pairs):
    scores, expected = map(list, zip(*pairs, strict=True))
    found = best(*pairs)
    candidates = [0.5, *scores, *(np.nextafter(score, 2) for score in scores)]
    highest = max(f1(scores, expected, candidate) for candidate in candidates)
    assert f1(scores, expected, found) == pytest.approx(highest)
    assert 0 <= found <= 1


@given(SCORED)
def test_one_half_stays_where_nothing_is_better(pairs):
    scores, expected = map(list, zip(*pairs, strict=True))
    highest = max(f1(scores, expected, candidate) for candidate in [0.5, *scores])
    if f1(scores, expected, 0.5) >= highest:
        assert best(*pairs) == 0.5
    else:
        assert best(*pairs) != 0.5


@pytest.mark.parametrize("scores", [(0.1, 0.9), (0.1, 0.2), (0.8, 0.9)], ids=str)
def test_a_label_that_never_stands_there_keeps_one_half(scores):
    assert best(*((score, False) for score in scores)) == 0.5


@pytest.mark.parametrize(
    ("pairs", "threshold"),
    [
        pytest.param([(0.1, False), (0.2, True), (0.4, True)], 0.15, id="rare"),
        pytest.param([(0.7, False), (0.8, False), (0.9, True)], 0.85, id="common"),
        pytest.param([(0.2, True), (0.4, True)], 0.1, id="always"),
    ],
)
def test_a_threshold_lies_half_way_between_its_neighbours(pairs, threshold):
    assert best(*pairs) == pytest.approx(threshold)


def test_of_equals_the_nearest_to_one_half_is_taken():
    # F1 is 2/3 from 0.9 on (1 of 1, half of all) and from 0.6 on (2 of 4), but at 0.5 only 4/7.
    pairs = [(0.9, True), (0.8, False), (0.7, False), (0.65, True), (0.55, False)]
    assert f1(*zip(*pairs, strict=True), 0.5) == pytest.approx(4 / 7)
    assert best(*pairs) == pytest.approx(0.6)


def test_neighbours_without_a_number_between_them_are_parted_too():
    low = 0.25
    high = float(np.nextafter(low, 1))
    assert best((low, False), (low, False), (high, True)) == high


@given(
    st.lists(
        st.lists(st.tuples(STEPS, st.booleans()), min_size=2, max_size=2), min_size=1, max_size=6
    )
)
def test_no_other_thresholds_of_two_labels_have_a_higher_micro_f1(rows):
    scores, expected = (np.array([[pair[i] for pair in row] for row in rows]) for i in (0, 1))
    found = best_thresholds(scores, expected)
    grid = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    highest = max(f1(scores, expected, (one, two)) for one in grid for two in grid)
    assert f1(scores, expected, found) == pytest.approx(highest)
    if f1(scores, expected, (0.5, 0.5)) == pytest.approx(highest):
        assert found == (0.5, 0.5)


def test_a_label_that_is_seldom_right_is_not_taken_for_the_sake_of_the_others():
    # Alone, taking all three texts gives it its highest F1, 1/2; but each wrong one costs micro-F1.
    sure = np.array([[0.9, 0.2], [0.8, 0.3], [0.1, 0.1]]), np.array([[1, 0], [1, 0], [0, 1]], bool)
    assert best(*zip(sure[0][:, 1], sure[1][:, 1], strict=True)) == pytest.approx(0.05)
    assert best_thresholds(*sure) == (0.5, 0.5)


def test_the_decoder_goes_by_the_thresholds_of_a_tuned_head():
    random = np.random.default_rng(3)
    expected = random.random((300, 3)) < (0.05, 0.4, 0.9)
    logits = (random.normal(size=(300, 3)) + 2 * expected - (4, 0, -3)).astype(np.float32)
    references = [tuple(np.array(LABELS)[row]) for row in expected]
    network = NETWORKS["multilabel.v1"]
    tuned = network.tuned(SPEC, decoded(SPEC, logits), references)
    assert len(set(tuned.thresholds)) == 3
    assert tuned.thresholds == best_thresholds(sigmoid(logits), expected)
    usual, better = (
        f1_score(
            expected,
            [[label in result.labels for label in LABELS] for result in decoded(spec, logits)],
            average="micro",
        )
        for spec in (SPEC, tuned)
    )
    assert better > usual


def test_tuning_a_tuned_spec_changes_nothing():
    random = np.random.default_rng(4)
    logits = random.normal(size=(50, 3)).astype(np.float32)
    references = [LABELS[: int(n)] for n in random.integers(0, 4, 50)]
    network = NETWORKS["multilabel.v1"]
    once = network.tuned(SPEC, decoded(SPEC, logits), references)
    assert network.tuned(once, decoded(once, logits), references) == once


@pytest.mark.parametrize("kind", ["classification.v1", "regression.v1", "tokens.v1"])
def test_other_kinds_have_nothing_to_tune(kind):
    spec = HeadSpec(kind=kind, output="logits/x", max_tokens=16)
    assert not NETWORKS[kind].tunable
    assert NETWORKS[kind].tuned(spec, [None], [None]) == spec
