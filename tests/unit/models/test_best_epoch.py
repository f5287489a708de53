import pytest

from polyhead_models import checkpoint, config
from polyhead_models.data import examples
from polyhead_models.evaluation import evaluate
from polyhead_models.training import train

# The rate is so high that the model is soon worse than it was.
PATIENCE = 3
WILD = {"epochs": 14, "learning_rate": 1.5e-2, "warmup": 0.0, "seed": 0, "patience": PATIENCE}


@pytest.fixture(scope="module")
def wild(write_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wild")
    made = config.load(write_config(folder, training=WILD))
    return made, train(made, folder / "checkpoint")


def test_the_best_epoch_is_the_one_with_the_highest_mean(wild):
    metrics = wild[1].metrics
    means = [entry["mean"] for entry in metrics["history"]]
    assert means[metrics["best_epoch"] - 1] == max(means)


def test_patience_ends_a_run_that_gets_no_better(wild):
    metrics = wild[1].metrics
    assert len(metrics["history"]) == metrics["best_epoch"] + PATIENCE < WILD["epochs"]


def test_the_checkpoint_holds_the_weights_of_the_best_epoch(wild):
    made, done = wild
    found = evaluate(checkpoint.load(done.path).engine(), examples.load(made, "validation"))
    best = done.metrics["history"][done.metrics["best_epoch"] - 1]["validation"]
    assert {n: f.value for n, f in found.items()} == {n: f["value"] for n, f in best.items()}


def test_without_validation_data_all_epochs_run(write_config, tmp_path):
    path = write_config(
        tmp_path, training={"epochs": 3, "patience": 1}, data={"messages": {"validation": None}}
    )
    metrics = train(config.load(path), tmp_path / "checkpoint").metrics
    assert (metrics["best_epoch"], metrics["validation"]) == (3, {})
