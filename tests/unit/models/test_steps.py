"""Length and rates of a training, stated or chosen from the data; and training on."""

import itertools
import shutil

import pytest
import torch

from polyhead.cli.main import main
from polyhead_models import checkpoint, config
from polyhead_models.config import TrainingConfig
from polyhead_models.data.steps import FEW, schedule
from polyhead_models.errors import CheckpointError
from polyhead_models.heads.base import IGNORED
from polyhead_models.training import resumable, train

LEFT_OUT = dict.fromkeys(("epochs", "batch_tokens", "learning_rate", "head_learning_rate"))


def plan(rows, tokens=12, **settings):
    return schedule(TrainingConfig(**settings), [tokens] * rows)


@pytest.mark.parametrize("rows", [100, 500, 2_000, 10_000, 40_000, 400_000])
def test_a_chosen_length_is_enough_and_within_bounds(rows):
    made = plan(rows)
    assert made.chosen == tuple(LEFT_OUT)
    assert 3 <= made.epochs <= 20
    assert 256 <= made.batch_tokens <= 2048
    assert made.steps >= 400 or made.epochs == 20
    assert made.steps <= 1500 or made.batch_tokens == 2048


def test_more_rows_never_get_smaller_batches_or_more_epochs():
    plans = [plan(2**power) for power in range(1, 20)]
    for smaller, larger in itertools.pairwise(plans):
        assert smaller.batch_tokens <= larger.batch_tokens
        assert smaller.batch_tokens < larger.batch_tokens or smaller.epochs >= larger.epochs


def test_what_is_stated_stays_and_the_rest_is_chosen_for_it():
    made = plan(2_000, epochs=20, learning_rate=3e-3)
    assert (made.epochs, made.learning_rate, made.head_learning_rate) == (20, 3e-3, 3e-3)
    assert made.chosen == ("batch_tokens", "head_learning_rate")
    assert made.batch_tokens > plan(2_000, epochs=2).batch_tokens


def test_a_choice_does_not_depend_on_the_number_of_processes():
    lengths = [12] * 2_000
    one, two = (schedule(TrainingConfig(), lengths, processes=count) for count in (1, 2))
    assert (one.epochs, one.batch_tokens) == (two.epochs, two.batch_tokens)
    assert two.epoch_steps == pytest.approx(one.epoch_steps / 2, abs=1)


@pytest.mark.parametrize("batch_tokens", [256, 1024, 4096])
def test_a_warning_names_settings_that_help(batch_tokens):
    made = plan(2_000, epochs=1, batch_tokens=batch_tokens)
    assert made.steps < FEW
    assert "head_learning_rate" in made.warning
    longer = int(made.warning.partition("epochs = ")[2].partition(" ")[0])
    assert plan(2_000, epochs=longer, batch_tokens=batch_tokens).steps >= 400


def test_enough_steps_give_no_warning():
    assert plan(2_000).warning is None


def test_a_checkpoint_has_what_was_chosen_and_stays_resumable(write_config, tmp_path, notes):
    path = write_config(tmp_path, training={**LEFT_OUT, "epochs": 1})
    made = config.load(path)
    target = train(made, tmp_path / "checkpoint").path
    found = checkpoint.describe(target)
    assert found.config.training.batch_tokens == 256
    assert found.config.training.head_learning_rate == 1e-3
    assert found.asked.settings == made.settings
    assert resumable(made, target)
    assert train(made, target, resume=True).reused
    told = next(note for note in notes() if note.startswith("training: 1 epoch of "))
    assert "chosen from the data: batch_tokens, learning_rate, head_learning_rate" in told
    stated = config.load(
        write_config(tmp_path, training={**LEFT_OUT, "epochs": 1, "batch_tokens": 256})
    )
    assert not resumable(stated, target)  # what was asked for is something else


def test_heads_begin_with_the_frequencies_of_their_labels(learnt):
    networks = learnt.model.networks
    topic = networks["topic"].prior([torch.tensor(i) for i in (0, 0, 0, 1)])
    assert torch.softmax(topic, dim=0).tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    tags = networks["entities"].prior([torch.tensor([IGNORED, 0, 0, 1])])
    assert torch.softmax(tags, dim=0).tolist() == pytest.approx([3 / 8, 2 / 8, 1 / 8, 1 / 8, 1 / 8])
    assert networks["embedding"].prior([torch.tensor(0.5)]) is None


def test_a_weighted_label_begins_with_its_weight(learnt, monkeypatch):
    network = learnt.model.networks["topic"]
    monkeypatch.setattr(network, "class_weights", torch.tensor([1 / 4, 1 / 2, 1.0]))
    prior = network.prior([torch.tensor(i) for i in (0, 0, 0, 1)])
    assert torch.softmax(prior, dim=0).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3])


@pytest.fixture(scope="module")
def short(write_config, tmp_path_factory):
    """A configuration, with its finished checkpoint beside; nobody writes to it."""
    folder = tmp_path_factory.mktemp("short")
    path = write_config(folder, training={"epochs": 2})
    train(config.load(path), folder / "checkpoint")
    return path


def test_a_finished_checkpoint_is_trained_on(short, tmp_path):
    target = shutil.copytree(short.parent / "checkpoint", tmp_path / "checkpoint")
    before, code = (
        checkpoint.metrics(target),
        main(["train", str(short), "-o", str(target), "--epochs", "+3"]),
    )
    after, found = checkpoint.metrics(target), checkpoint.describe(target)
    assert code == 0
    assert [entry["epoch"] for entry in after["history"]] == [1, 2, 3, 4, 5]
    assert after["best_epoch"] > 2
    assert after["steps"] == before["steps"] * 5 // 2
    assert after["history"][-1]["loss"] < before["history"][-1]["loss"]
    assert (found.continued, found.config.training.epochs) == ((3,), 2)
    assert train(config.load(short), target, resume=True).reused


def test_epochs_that_make_nothing_better_leave_the_checkpoint(
    trained, trained_config, tmp_path, notes
):
    target = shutil.copytree(trained, tmp_path / "checkpoint")
    before = (target / "model.safetensors").read_bytes()
    done = train(trained_config, target, more_epochs=1)
    assert (target / "model.safetensors").read_bytes() == before
    assert done.metrics == checkpoint.metrics(trained)
    assert any("no epoch was better than before" in note for note in notes())


def test_a_checkpoint_of_other_settings_is_not_trained_on(short, write_config, tmp_path):
    other = config.load(write_config(tmp_path, training={"epochs": 3}))
    with pytest.raises(CheckpointError, match=r"training\.epochs was 2, is 3"):
        train(other, short.parent / "checkpoint", more_epochs=1)


def test_without_a_finished_checkpoint_nothing_is_trained_on(short, tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        train(config.load(short), tmp_path / "checkpoint", more_epochs=1)


@pytest.mark.parametrize("word", ["2", "+0", "+x", "-1"])
def test_more_epochs_are_a_number_behind_a_plus(short, word, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", str(short), "-o", "checkpoint", f"--epochs={word}"])
    assert "expected +N" in capsys.readouterr().err
