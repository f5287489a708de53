import math

import pytest
import torch

from polyhead.heads import HeadSpec
from polyhead_models import checkpoint
from polyhead_models.heads import NETWORKS
from polyhead_models.heads.base import IGNORED
from polyhead_models.training.objective import Objective

IDS = torch.tensor([[2, 9, 8, 3]])
MASK = torch.ones_like(IDS)
ALIKE = {"topic": 1.0, "entities": 1.0}
TARGETS = {"topic": torch.tensor([1]), "entities": torch.tensor([[IGNORED, 1, 0, IGNORED]])}


@pytest.fixture
def model(trained):
    return checkpoint.load(trained).model.eval()


@pytest.fixture
def losses(model):
    """The heads' own losses, unweighted. A head of spans counts three times."""
    logits = model(IDS, MASK)
    own = {name: model.networks[name].loss(logits[name], TARGETS[name]) for name in TARGETS}
    return {"topic": own["topic"], "entities": 3 * own["entities"]}


def test_fixed_weights_are_factors(model, losses):
    objective = Objective(model, {"topic": 2.0, "entities": 0.5}, "fixed")
    found = objective(IDS, MASK, TARGETS)["loss"]
    assert found.item() == pytest.approx(2 * losses["topic"].item() + losses["entities"].item() / 2)


def test_uncertainty_starts_as_the_plain_sum(model, losses):
    objective = Objective(model, ALIKE, "uncertainty")
    found = objective(IDS, MASK, TARGETS)["loss"]
    assert found.item() == pytest.approx(sum(losses.values()).item())


def test_uncertainty_is_the_formula_of_its_source(model, losses):
    objective = Objective(model, ALIKE, "uncertainty")
    with torch.no_grad():
        objective.log_variances.copy_(torch.tensor([0.4, -1.0]))
    expected = math.exp(-0.4) * losses["topic"] + 0.2 + math.exp(1.0) * losses["entities"] - 0.5
    assert objective(IDS, MASK, TARGETS)["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_uncertainty_is_learnt(model):
    objective = Objective(model, ALIKE, "uncertainty")
    objective(IDS, MASK, TARGETS)["loss"].backward()
    assert bool((objective.log_variances.grad != 0).all())


def test_the_factors_stay_out_of_the_model(model):
    before = set(model.state_dict())
    Objective(model, ALIKE, "uncertainty")
    assert set(model.state_dict()) == before


def test_a_head_without_a_weight_has_no_loss(model, losses):
    objective = Objective(model, {"topic": 1.0}, "uncertainty")
    assert len(objective.log_variances) == 1
    found = objective(IDS, MASK, {"topic": TARGETS["topic"]})["loss"]
    assert found.item() == pytest.approx(losses["topic"].item())


@pytest.mark.parametrize("without", [0, 1, 9])
def test_the_learnt_factor_does_not_depend_on_the_share_of_batches_with_targets(
    model, losses, without
):
    """Its optimum is the logarithm of twice the loss: there the gradients add up to 0."""
    objective = Objective(model, {"topic": 1.0}, "uncertainty")
    with torch.no_grad():
        objective.log_variances.fill_(math.log(2 * losses["topic"].item()))
    missing = {"topic": torch.tensor([IGNORED])}
    for targets in ({"topic": TARGETS["topic"]}, *[missing] * without):
        objective(IDS, MASK, targets)["loss"].backward()
    assert objective.log_variances.grad.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty"])
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("topic", [torch.tensor(n) for n in (0, 2, 1)]),
        ("entities", [torch.tensor([IGNORED, n, 0, IGNORED]) for n in (0, 2, 1)]),
    ],
)
def test_a_row_counts_alike_whatever_else_is_in_its_batch(model, weighting, name, rows):
    """Three rows in three batches, or in one beside two rows of another head."""
    ids = torch.tensor([[2, n, 8, 3] for n in (9, 7, 6, 5, 4)])
    objective = Objective(model, {name: 1.0}, weighting, usual={name: 1.5})
    collate = model.networks[name].collate

    def loss(chosen, targets):
        batch = ids[chosen]
        return objective(batch, torch.ones_like(batch), {name: collate(targets, 4)})["loss"].item()

    single = [loss([i], [row]) for i, row in enumerate(rows)]
    together = loss([3, 0, 1, 4, 2], [None, *rows[:2], None, rows[2]])
    assert together == pytest.approx(sum(single), rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        pytest.param("multilabel.v1", [None, [1.0, 0.0]], id="multilabel"),
        pytest.param("regression.v1", [None, [0.5]], id="regression"),
        pytest.param("embedding.v1", [0.5, 0.5], id="embedding_scores"),
        pytest.param("embedding.v1", [math.nan, math.nan], id="embedding_partners"),
    ],
)
def test_every_kind_knows_whether_a_batch_has_its_targets(kind, targets):
    spec = HeadSpec(
        kind=kind,
        output="logits/x",
        labels=("a", "b") if kind == "multilabel.v1" else (),
        activation=NETWORKS[kind].activation,
        pooling="mean",
        scale=(0.0, 1.0) if kind == "regression.v1" else None,
        max_tokens=8,
    )
    network = NETWORKS[kind](spec, width=4, depth=2)
    made = [None if target is None else torch.tensor(target) for target in targets]
    assert bool(network.known(network.collate(made, 8)).any())
    assert not bool(network.known(network.collate([None] * len(made), 8)).any())
