"""What an embedding learns from, its losses by hand, and how its rankings are measured."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from polyhead.heads import Embedding, HeadSpec
from polyhead_models.heads import NETWORKS
from polyhead_models.metrics import METRICS

NETWORK, METRIC = NETWORKS["embedding.v1"], METRICS["embedding.v1"]
WIDTH = 6


def head(*dimensions):
    spec = HeadSpec(
        kind="embedding.v1", output="x", pooling="mean", max_tokens=16, dimensions=dimensions
    )
    return NETWORK(spec, width=WIDTH, depth=3)


def vectors(pairs, seed=0):
    """The texts of a batch: both of the first pair, both of the second, …"""
    return torch.randn(2 * pairs, WIDTH, generator=torch.Generator().manual_seed(seed))


def batch(network, *references):
    targets = [network.target(r, None) for r in references for _ in range(2)]
    return network.collate(targets, tokens=9)


def cosine(a, b):
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def scored_loss(logits, scores):
    """10 times the mean squared error: CosineSimilarityLoss of sentence-transformers."""
    values = logits.double().numpy()
    errors = [(cosine(values[2 * i], values[2 * i + 1]) - s) ** 2 for i, s in enumerate(scores)]
    return 10 * np.mean(errors)


def ranking_loss(logits):
    """-log softmax of 20 cosines at the partner: its MultipleNegativesRankingLoss."""
    values = logits.double().numpy()
    first, second = values[::2], values[1::2]
    losses = []
    for i, a in enumerate(first):
        scores = np.array([20 * cosine(a, b) for b in second])
        losses.append(np.log(np.exp(scores).sum()) - scores[i])
    return np.mean(losses)


def test_scores_are_compared_with_cosines():
    network, logits = head(), vectors(3)
    found = network.loss(logits, batch(network, 1.0, 0.25, -0.5)).item()
    assert found == pytest.approx(scored_loss(logits, [1.0, 0.25, -0.5]), rel=1e-5)


def test_every_text_has_to_find_its_partner():
    network, logits = head(), vectors(4)
    found = network.loss(logits, batch(network, None, None, None, None)).item()
    assert found == pytest.approx(ranking_loss(logits), rel=1e-5)


@pytest.mark.parametrize("references", [(None,) * 3, (0.5, -1.0, 0.0)], ids=["ranked", "scored"])
def test_every_size_is_trained_alike(references):
    network, logits = head(2, 4), vectors(3)
    by_hand = ranking_loss if references[0] is None else lambda x: scored_loss(x, references)
    expected = np.mean([by_hand(logits[:, :size]) for size in (2, 4, WIDTH)])
    found = network.loss(logits, batch(network, *references)).item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_texts_of_other_heads_in_a_batch_are_passed_over():
    network, logits = head(), vectors(3)
    target = network.target(0.5, None)
    targets = network.collate([None, None, target, target, None, None], tokens=9)
    expected = scored_loss(logits[2:4], [0.5])
    assert network.loss(logits, targets).item() == pytest.approx(expected, rel=1e-5)


def test_a_batch_without_pairs_has_no_loss():
    network, logits = head(), vectors(1).requires_grad_()
    network.loss(logits, network.collate([None, None], tokens=9)).backward()
    assert not logits.grad.any()


@pytest.mark.parametrize(
    ("raw", "found"), [(1, 1.0), (-1, -1.0), ("0.5", 0.5), (0, 0.0), (True, None)]
)
def test_a_score_is_a_number_and_none_says_that_texts_belong_together(raw, found):
    assert NETWORK.reference(raw, "") == found


@pytest.mark.parametrize("raw", [1.01, -2, "near", math.nan, False, [0.5], ""], ids=repr)
def test_other_scores_are_refused(raw):
    with pytest.raises(ValueError, match="expected a number from -1 to 1; scale it"):
        NETWORK.reference(raw, "")


def test_sizes_stand_in_order_once_each():
    assert NETWORK.fitted(head(4, 2, 4).spec, []).dimensions == (2, 4)


def test_a_size_above_the_vectors_is_refused():
    with pytest.raises(ValueError, match="dimensions: found 7; the vector has 6 numbers"):
        head(2, 7)


def unit(*values):
    vector = np.array(values, np.float32)
    return Embedding(vector / np.linalg.norm(vector))


def turned(angle):
    return unit(math.cos(angle), math.sin(angle))


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(-4, 4)), min_size=2, max_size=12))
def test_the_ranking_of_scored_pairs_is_spearmans(pairs):
    angles, scores = zip(*pairs, strict=True)
    results = [(unit(1, 0), turned(angle / 3)) for angle in angles]
    found = METRIC.score(results, [score / 4 for score in scores])
    if len(set(angles)) > 1 and len(set(scores)) > 1:
        expected = spearmanr([-angle for angle in angles], scores).statistic
        assert found["spearman"] == pytest.approx(expected, abs=1e-9)
    else:
        assert found["spearman"] == 0
    assert found["ranking"] == found["spearman"]


def test_the_ranking_of_partners_is_their_mean_reciprocal_rank():
    # The nearest of the second texts is the partner of the first and second, and not of the third.
    firsts = [turned(0.0), turned(1.0), turned(1.1)]
    seconds = [turned(0.1), turned(1.3), turned(0.2)]
    found = METRIC.score(list(zip(firsts, seconds, strict=True)), [None] * 3)
    assert found == {
        "ranking": pytest.approx((1 + 1 + 1 / 2) / 3),
        "mrr": pytest.approx((1 + 1 + 1 / 2) / 3),
        "recall_at_1": pytest.approx(2 / 3),
    }
    assert METRIC.primary == "ranking"


def test_a_better_ranking_is_a_larger_figure():
    good = [(turned(0.0), turned(0.1)), (turned(1.0), turned(1.1))]
    bad = [(one, other) for (one, _), (_, other) in zip(good, reversed(good), strict=True)]
    assert METRIC.score(good, [None] * 2)["mrr"] > METRIC.score(bad, [None] * 2)["mrr"]
