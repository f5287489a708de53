import functools

import numpy as np
import pytest

from polyhead.heads import (
    Answer,
    Classification,
    Compressed,
    Embedding,
    Entities,
    Generated,
    MultiLabel,
    Regression,
    Sentence,
    Span,
    Summary,
)
from polyhead_models.evaluation import paired
from polyhead_models.heads.answer import AnswerSpans
from polyhead_models.heads.compress import Shortened
from polyhead_models.heads.summary import Salient
from polyhead_models.metrics import METRICS

TEXTS = 60
LABELS = ("billing", "delivery", "praise", "refund")
KINDS = [kind for kind, metric in METRICS.items() if metric.primary is not None]


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
    return AnswerSpans(((0, len(text)),), (text,))


def summary(random):
    return Salient((), (words(random),))


def shortened(random):
    return Shortened((words(random),), 9)


def written(random):
    return (words(random),)


def score(random):
    return float(random.uniform(-1, 1))


def twins(cosine):
    """Two vectors of this cosine."""
    second = np.array([cosine, np.sqrt(1 - cosine**2)], dtype=np.float32)
    return Embedding(np.array([1, 0], dtype=np.float32)), Embedding(second)


RESULTS = {
    "answer.v1": (answer, lambda ref: Answer(ref.texts[0], 0, 1, 1.0, 0.0, -1.0, ())),
    "summary.v1": (summary, lambda ref: Summary((Sentence(ref.texts[0], 0, 1, 1.0),))),
    "compress.v1": (shortened, lambda ref: Compressed(ref.texts[0], ())),
    "generation.v1": (written, lambda texts: Generated(texts[0], -1.0, 3, True)),
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


@functools.cache
def compared(kind, first=0.7, second=0.5, texts=TEXTS):
    """Two models that are right about these shares of the texts."""
    (a, references), (b, _) = (
        answered(kind, right, seed=seed, texts=texts) for seed, right in ((1, first), (2, second))
    )
    return paired(kind, a, b, references)


@pytest.mark.parametrize("kind", KINDS)
def test_the_values_are_the_metrics_own(kind):
    metric = METRICS[kind]
    (a, references), (b, _) = (answered(kind, r, seed=seed) for seed, r in ((1, 0.7), (2, 0.5)))
    first, second, difference = compared(kind)
    values = [metric.score(side, references)[metric.primary] for side in (a, b)]
    assert [first.value, second.value] == values
    assert difference.value == values[0] - values[1]


@pytest.mark.parametrize("kind", KINDS)
def test_an_interval_is_that_of_scoring_each_draw(kind):
    metric = METRICS[kind]
    results, references = answered(kind, 0.7, seed=1)
    first, _, _ = compared(kind)
    random = np.random.default_rng(5)
    scores = []
    for _ in range(200):
        chosen = random.integers(TEXTS, size=TEXTS)
        some = [results[i] for i in chosen], [references[i] for i in chosen]
        scores.append(metric.score(*some)[metric.primary])
    assert [first.low, first.high] == pytest.approx(np.percentile(scores, [2.5, 97.5]), abs=0.06)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [1, 2])
def test_few_texts(kind, texts):
    first, _, difference = compared(kind, 1.0, 0.0, texts=texts)
    assert np.isfinite([first.low, first.high, difference.value, difference.low]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_interval_holds_the_metric_and_is_neither_nothing_nor_everything(kind):
    for estimate in compared(kind):
        assert estimate.low < estimate.value < estimate.high
        assert 0.01 < estimate.high - estimate.low < 1


def test_the_interval_of_a_share_is_that_of_the_binomial_distribution():
    # 400 texts, 300 right: 1.96 standard errors are 0.0424.
    references = ["billing"] * 400
    results = [Classification("billing" if i < 300 else "praise", 1.0, {}) for i in range(400)]
    found, _, _ = paired("classification.v1", results, results, references)
    assert found.value == 0.75
    assert found.low == pytest.approx(0.75 - 0.0424, abs=0.008)
    assert found.high == pytest.approx(0.75 + 0.0424, abs=0.008)


@pytest.mark.parametrize("kind", ["classification.v1", "embedding.v1"], ids=["sums", "draws"])
def test_a_model_does_not_differ_from_itself(kind):
    results, references = answered(kind, 0.7, seed=1)
    first, second, difference = paired(kind, results, results, references)
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert first == second


def test_pairing_sees_a_difference_that_the_two_intervals_hide():
    results, references = answered("classification.v1", 0.7, seed=1)
    better = list(results)
    wrong = [i for i, (a, b) in enumerate(zip(results, references, strict=True)) if a.label != b]
    for i in wrong[:6]:
        better[i] = Classification(references[i], 1.0, {})
    first, second, difference = paired("classification.v1", better, results, references)
    assert first.low < second.high
    assert difference.low > 0
    assert difference.value == pytest.approx(6 / TEXTS)


def test_the_same_answers_have_the_same_intervals():
    results, references = answered("tokens.v1", 0.7, seed=1)
    first, second = (paired("tokens.v1", results, results, references) for _ in range(2))
    assert first == second
