import numpy as np
import pytest

from polyhead.heads import (
    Answer,
    Classification,
    Embedding,
    Entities,
    MultiLabel,
    Regression,
    Sentence,
    Span,
    Summary,
)
from polyhead_models.heads.answer import Answers
from polyhead_models.heads.summary import Salient
from polyhead_models.metrics import METRICS
from polyhead_models.report import bootstrap
from polyhead_models.report.statistic import Statistic

TEXTS = 60
LABELS = ("billing", "delivery", "praise", "refund")
KINDS = [kind for kind, metric in METRICS.items() if metric.primary is not None]
FAST = ("classification.v1", "multilabel.v1", "tokens.v1", "answer.v1", "summary.v1")


def classification(random):
    return str(random.choice(LABELS))


def multilabel(random):
    return tuple(label for label in LABELS if random.random() < 0.4)


def regression(random):
    return float(random.normal())


def tokens(random):
    starts = range(0, 5 * int(random.integers(0, 4)), 5)
    return tuple((str(random.choice(LABELS)), s, s + int(random.integers(1, 5))) for s in starts)


def words(random):
    return " ".join(random.choice(LABELS, size=int(random.integers(1, 5))))


def answer(random):
    text = words(random)
    return Answers(((0, len(text)),), (text,))


def summary(random):
    return Salient((), (words(random),))


def score(random):
    return float(random.uniform(-1, 1))


def twins(cosine):
    """Two vectors of this cosine."""
    second = np.array([cosine, np.sqrt(1 - cosine**2)], dtype=np.float32)
    return Embedding(np.array([1, 0], dtype=np.float32)), Embedding(second)


RESULTS = {
    "answer.v1": (answer, lambda ref: Answer(ref.texts[0], 0, 1, 1.0, 0.0, -1.0, ())),
    "summary.v1": (summary, lambda ref: Summary((Sentence(ref.texts[0], 0, 1, 1.0),))),
    "embedding.v1": (score, twins),
    "classification.v1": (classification, lambda label: Classification(label, 1.0, {})),
    "multilabel.v1": (multilabel, lambda labels: MultiLabel(labels, {})),
    "regression.v1": (regression, Regression),
    "tokens.v1": (
        tokens,
        lambda spans: Entities(tuple(Span(label, "", a, b, 1.0) for label, a, b in spans)),
    ),
}


def answered(kind, right, *, seed, texts=TEXTS):
    """Results of a model that is right about a share of the texts, and the references."""
    make, result = RESULTS[kind]
    truth = np.random.default_rng(99)
    references = [make(truth) for _ in range(texts)]
    random = np.random.default_rng(seed)
    found = [ref if random.random() < right else make(random) for ref in references]
    return [result(value) for value in found], references


def statistic(kind, right=0.7, *, seed=1, texts=TEXTS):
    return Statistic(kind, *answered(kind, right, seed=seed, texts=texts))


def scored(kind, results, references, chosen):
    metric = METRICS[kind]
    some = [results[i] for i in chosen], [references[i] for i in chosen]
    return metric.score(*some)[metric.primary]


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_has_the_figure_that_the_metric_gives_it(kind):
    results, references = answered(kind, 0.6, seed=1)
    made = Statistic(kind, results, references)
    random = np.random.default_rng(5)
    for drawn in (1, 7, TEXTS, 3 * TEXTS):
        chosen = random.integers(TEXTS, size=drawn)
        expected = scored(kind, results, references, chosen)
        assert made(chosen) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_figure_is_the_metrics(kind):
    results, references = answered(kind, 0.6, seed=1)
    whole = METRICS[kind].score(results, references)[METRICS[kind].primary]
    assert Statistic(kind, results, references).whole == whole


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_a_sum_over_texts_is_not_scored_anew_for_each_draw(kind):
    assert statistic(kind).fast is (kind in FAST)


def test_what_only_looks_like_a_sum_is_scored_by_the_metric():
    # The second span lies on the first: as a set they are two, as tags one is left.
    references = [(("billing", 0, 4), ("praise", 0, 4))] * 5
    results = [Entities((Span("praise", "", 0, 4, 1.0),))] * 5
    made = Statistic("tokens.v1", results, references)
    assert (made.fast, made.whole) == (False, 1.0)
    assert made(np.array([0, 0, 3])) == 1.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [1, 2])
def test_few_texts(kind, texts):
    found = bootstrap.paired(statistic(kind, 1.0, texts=texts), statistic(kind, 0.0, texts=texts))
    assert np.isfinite([found.first.low, found.first.high, found.difference.value]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_interval_holds_the_figure_and_is_neither_nothing_nor_everything(kind):
    found = bootstrap.paired(statistic(kind, seed=1), statistic(kind, 0.5, seed=2))
    for estimate in (found.first, found.second, found.difference):
        assert estimate.low < estimate.value < estimate.high
        assert 0.01 < estimate.high - estimate.low < 1


def test_the_interval_of_a_share_is_that_of_the_binomial_distribution():
    # 400 texts, 300 right: 1.96 standard errors are 0.0424.
    references = ["billing"] * 400
    results = [Classification("billing" if i < 300 else "praise", 1.0, {}) for i in range(400)]
    made = Statistic("classification.v1", results, references)
    found = bootstrap.paired(made, made, samples=4000).first
    assert found.value == 0.75
    assert found.low == pytest.approx(0.75 - 0.0424, abs=0.005)
    assert found.high == pytest.approx(0.75 + 0.0424, abs=0.005)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_does_not_differ_from_itself(kind):
    found = bootstrap.paired(statistic(kind), statistic(kind))
    difference = found.difference
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert found.first == found.second


def test_pairing_sees_a_difference_that_the_two_intervals_hide():
    results, references = answered("classification.v1", 0.7, seed=1)
    better = list(results)
    wrong = [i for i, (a, b) in enumerate(zip(results, references, strict=True)) if a.label != b]
    for i in wrong[:6]:
        better[i] = Classification(references[i], 1.0, {})
    one, two = (Statistic("classification.v1", r, references) for r in (better, results))
    found = bootstrap.paired(one, two)
    assert found.first.low < found.second.high
    assert found.difference.low > 0
    assert found.difference.value == pytest.approx(6 / TEXTS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_intervals_again(kind):
    first, second = statistic(kind, seed=1), statistic(kind, 0.5, seed=2)
    one, two, other = (
        bootstrap.paired(first, second, samples=100, seed=seed) for seed in (0, 0, 1)
    )
    assert one == two != other


def test_other_texts_are_refused():
    with pytest.raises(ValueError, match="60 texts against 59"):
        bootstrap.paired(statistic("tokens.v1"), statistic("tokens.v1", texts=59))


@pytest.mark.parametrize(
    ("kind", "texts", "samples"),
    [
        pytest.param("tokens.v1", 3000, 1000, id="sums"),
        pytest.param("regression.v1", 700, 1000, id="direct"),
        pytest.param("regression.v1", 4000, 500, id="direct_many"),
        pytest.param("regression.v1", 20_000, 200, id="direct_very_many"),
    ],
)
def test_fewer_draws_where_each_is_scored_and_there_are_many_texts(kind, texts, samples):
    assert bootstrap.samples_for(statistic(kind, texts=texts)) == samples
