from dataclasses import replace

import pytest

from polyhead_models import checkpoint, config
from polyhead_models.config import TrainingConfig
from polyhead_models.data.steps import schedule
from polyhead_models.errors import ConfigError
from polyhead_models.training import train
from polyhead_models.training.objective import Objective, freeze, optimizer

SCHEDULE = schedule(TrainingConfig(learning_rate=1e-3), [9])


@pytest.fixture
def model(trained):
    return checkpoint.load(trained).model


def learning(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_nothing_is_frozen_unasked(model):
    freeze(model, "nothing")
    assert learning(model) == {name for name, _ in model.named_parameters()}


def test_a_frozen_encoder_leaves_the_heads_learning(model):
    freeze(model, "encoder")
    assert learning(model) == {n for n, _ in model.named_parameters() if n.startswith("heads.")}


def test_frozen_layers_take_the_embeddings_along(model):
    freeze(model, 1)
    kept = {n for n in learning(model) if n.startswith("encoder.")}
    assert kept == {n for n, _ in model.named_parameters() if ".layer.1." in n}


@pytest.mark.parametrize("count", [-1, 3])
def test_more_layers_than_the_encoder_has_are_refused(model, count):
    with pytest.raises(ConfigError, match=f"found {count}; this encoder has 2 layers"):
        freeze(model, count)


@pytest.mark.parametrize(("rate", "expected"), [(1e-3, 1e-3), (0.5, 0.5)])
def test_heads_may_have_a_rate_of_their_own(model, rate, expected):
    objective = Objective(model, dict.fromkeys(model.networks, 1.0), "uncertainty")
    made = optimizer(objective, replace(SCHEDULE, head_learning_rate=rate), weight_decay=0.0)
    rates = {id(p): group["lr"] for group in made.param_groups for p in group["params"]}
    assert rates.keys() == {id(p) for p in objective.parameters()}
    for name, parameter in objective.named_parameters():
        own = 1e-3 if name.startswith("model.encoder.") else expected
        assert rates[id(parameter)] == own, name


def test_biases_and_norms_do_not_decay(model):
    objective = Objective(model, dict.fromkeys(model.networks, 1.0), "fixed")
    made = optimizer(objective, SCHEDULE, weight_decay=0.1)
    for group in made.param_groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] == 0.1}


def test_a_frozen_encoder_comes_out_as_it_went_in(write_config, tmp_path):
    path = write_config(tmp_path, training={"freeze": "encoder", "epochs": 1})
    made = config.load(path)
    done = checkpoint.load(train(made, tmp_path / "checkpoint").path)
    from polyhead_models import encoder

    before, _ = encoder.load(made.encoder.name)
    assert encoder.fingerprint(done.model.encoder) == encoder.fingerprint(before)
