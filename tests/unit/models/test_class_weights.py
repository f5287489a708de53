"""Class weights and label smoothing: of the loss only, never of the model that is kept."""

import pytest
import torch

from polyhead_models import checkpoint, config
from polyhead_models.errors import ConfigError
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.base import IGNORED
from polyhead_models.training import train


@pytest.fixture
def network(trained):
    return checkpoint.load(trained).model.networks["topic"]


def test_balanced_weights_are_those_of_scikit_learn():
    references = ["a"] * 6 + ["b"] * 3 + ["c"]
    found = NETWORKS["classification.v1"].balanced(("a", "b", "c"), references)
    assert found == pytest.approx([10 / 18, 10 / 9, 10 / 3])


def test_a_balanced_set_weighs_both_sides_alike():
    references = [("x",), ("x", "y"), ("x",), ()]
    assert NETWORKS["multilabel.v1"].balanced(("x", "y"), references) == [1 / 3, 3.0]


def test_a_heavier_label_counts_for_more(network):
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    targets = torch.tensor([0, 1])
    single = [network.loss(logits[i : i + 1], targets[i : i + 1]) for i in range(2)]
    network.class_weights = torch.tensor([1.0, 3.0, 1.0])
    expected = (single[0] + 3 * single[1]) / 4
    assert network.loss(logits, targets).item() == pytest.approx(expected.item())


def test_smoothing_spreads_a_share_over_all_labels(network):
    logits, target = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0])
    network.label_smoothing = 0.3
    shares = torch.tensor([0.7 + 0.1, 0.1, 0.1])
    expected = -(shares * torch.log_softmax(logits[0], dim=0)).sum()
    assert network.loss(logits, target).item() == pytest.approx(expected.item())


def test_ignored_rows_stay_out_of_a_smoothed_loss(network):
    network.label_smoothing = 0.2
    logits = torch.tensor([[2.0, 0.0, -1.0], [9.0, -9.0, 0.0]])
    both = network.loss(logits, torch.tensor([0, IGNORED]))
    assert both.item() == pytest.approx(network.loss(logits[:1], torch.tensor([0])).item())


@pytest.mark.parametrize("weights", ["balanced", {"home": 5.0}])
def test_weights_are_for_training_alone(write_config, tmp_path, weights):
    heads = {"topic": {"class_weights": weights, "label_smoothing": 0.1}}
    path = write_config(tmp_path, heads=heads, training={"epochs": 1})
    made = checkpoint.load(train(config.load(path), tmp_path / "checkpoint").path)
    assert made.model.networks["topic"].class_weights is None
    assert not any("class_weights" in name for name in made.model.state_dict())


def test_a_weight_for_an_unknown_label_names_the_nearest(write_config, tmp_path):
    path = write_config(tmp_path, heads={"topic": {"class_weights": {"hoome": 2.0}}})
    with pytest.raises(ConfigError, match=r"class_weights: .*'hoome'\. Did you mean 'home'\?"):
        train(config.load(path), tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"topic": {"label_smoothing": 1.0}}, "label_smoothing: found 1.0, expected 0 to below 1"),
        ({"topic": {"class_weights": {"home": 0.0}}}, "class_weights: found .*, expected above 0"),
        ({"topic": {"class_weights": {}}}, "class_weights: an empty table"),
        ({"entities": {"class_weights": "balanced"}}, "class_weights: a head of kind 'tokens'"),
        ({"topic": {"class_weights": "balance"}}, "class_weights"),
    ],
)
def test_a_bad_setting_is_refused(write_config, tmp_path, head, message):
    with pytest.raises(ConfigError, match=message):
        config.load(write_config(tmp_path, heads=head))
