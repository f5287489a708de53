import fcntl
import json
import shutil
from pathlib import Path

import pytest
import torch

from polyhead_models import checkpoint, config
from polyhead_models.errors import CheckpointError
from polyhead_models.training import resumable, train
from polyhead_models.training.state import last_complete

EPOCHS = 4


@pytest.fixture(scope="module")
def uninterrupted(write_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    made = config.load(write_config(folder, training={"epochs": EPOCHS}))
    return train(made, folder / "checkpoint")


@pytest.fixture
def configured(write_config, tmp_path):
    return config.load(write_config(tmp_path, training={"epochs": EPOCHS}))


@pytest.fixture(scope="module")
def stopped(write_config, stopped_at, tmp_path_factory):
    """The folder of a run that was stopped in its third epoch; nobody writes to it."""
    folder = tmp_path_factory.mktemp("stopped")
    made = config.load(write_config(folder, training={"epochs": EPOCHS}))
    with stopped_at("epoch 3:"):  # the epoch's metrics are there, its state is not
        train(made, folder / "checkpoint")
    return folder


@pytest.fixture
def interrupted(configured, stopped, tmp_path):
    """The target of a run that was stopped in its third epoch, as the test's own."""
    shutil.copytree(stopped / ".checkpoint.partial", tmp_path / ".checkpoint.partial")
    return tmp_path / "checkpoint"


def epochs(lines):
    """The beginnings of the lines about epochs."""
    return [line.partition(":")[0] for line in lines if line.startswith("epoch ")]


def assert_same(done, uninterrupted):
    """The same weights and, but for the time it took, the same metrics."""
    one, two = (checkpoint.load(d.path).model.state_dict() for d in (done, uninterrupted))
    for name, value in two.items():
        assert torch.allclose(one[name], value, rtol=0, atol=1e-6), name
    assert {**done.metrics, "seconds": 0} == {**uninterrupted.metrics, "seconds": 0}


@pytest.mark.parametrize("epoch", [1, EPOCHS], ids=["first", "last"])
def test_a_run_resumed_in_any_epoch_ends_as_if_nothing_had_been(
    configured, stopped_at, tmp_path, uninterrupted, epoch
):
    target = tmp_path / "checkpoint"
    with stopped_at(f"epoch {epoch}:"):
        train(configured, target)
    done = train(configured, target, resume=True)
    assert not done.reused
    assert_same(done, uninterrupted)


def test_a_resumed_run_repeats_no_finished_epoch_and_clears_its_state(
    configured, interrupted, uninterrupted, notes
):
    assert_same(train(configured, interrupted, resume=True), uninterrupted)
    assert epochs(notes()) == ["epoch 3", "epoch 4"]
    left = {path.name for path in interrupted.parent.iterdir()}
    assert left == {"data", "config.toml", "checkpoint"}


def test_an_interrupted_run_leaves_no_checkpoint(interrupted):
    assert not interrupted.exists()
    assert (interrupted.parent / ".checkpoint.partial").is_dir()


def test_an_interrupted_run_is_not_touched_without_a_flag(configured, interrupted):
    with pytest.raises(CheckpointError, match=r"interrupted run is here.*--resume"):
        train(configured, interrupted)
    assert last_complete(interrupted.parent / ".checkpoint.partial") is not None


def test_an_interrupted_run_of_other_settings_is_refused(write_config, tmp_path, interrupted):
    other = config.load(write_config(tmp_path, training={"epochs": EPOCHS + 1}))
    with pytest.raises(
        CheckpointError, match=r"other settings or data: training.epochs was 4, is 5\. Start"
    ):
        train(other, interrupted, resume=True)
    assert last_complete(interrupted.parent / ".checkpoint.partial") is not None


@pytest.mark.parametrize("flags", [{}, {"resume": True}, {"overwrite": True}], ids=str)
def test_a_second_process_does_not_train_into_the_same_path(configured, interrupted, flags):
    partial = interrupted.parent / ".checkpoint.partial"
    with (partial / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CheckpointError, match="another process is training here"):
            train(configured, interrupted, **flags)
    assert last_complete(partial) is not None


def test_a_failed_run_in_this_process_gives_the_path_free(configured, interrupted, stopped_at):
    with stopped_at("epoch 3:"):
        train(configured, interrupted, resume=True)
    with stopped_at("epoch 3:"):
        train(configured, interrupted, resume=True)


def test_what_a_removal_left_that_was_cut_short_is_no_run(
    configured, interrupted, uninterrupted, notes
):
    (interrupted.parent / ".checkpoint.partial" / "run.json").unlink()
    assert_same(train(configured, interrupted), uninterrupted)
    assert len(epochs(notes())) == EPOCHS  # nothing of the old run was taken


def test_a_run_that_was_killed_when_it_was_done_leaves_nothing(
    configured, interrupted, uninterrupted
):
    shutil.copytree(uninterrupted.path, interrupted)
    assert train(configured, interrupted, resume=True).reused
    left = {path.name for path in interrupted.parent.iterdir()}
    assert left == {"data", "config.toml", "checkpoint"}


def test_a_run_that_ends_in_another_place_keeps_its_best_epoch(write_config, tmp_path, monkeypatch):
    """The first epoch is the best one: a rate this high ruins the weights after it."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    (tmp_path / "one").mkdir()
    made = config.load(write_config(tmp_path, training={"epochs": EPOCHS, "learning_rate": 1.0}))
    whole = train(made, tmp_path / "whole")
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("polyhead_models.training.run.learning_curves", stop)
        with pytest.raises(KeyboardInterrupt):
            train(made, Path("one/checkpoint"))
    (tmp_path / "one").rename(tmp_path / "two")
    done = train(made, Path("two/checkpoint"), resume=True)
    assert done.metrics["best_epoch"] < EPOCHS
    assert_same(done, whole)


def test_only_the_newest_and_the_best_state_stay(configured, stopped_at, tmp_path):
    with stopped_at(f"epoch {EPOCHS}:"):
        train(configured, tmp_path / "checkpoint")
    states = sorted((tmp_path / ".checkpoint.partial").glob("checkpoint-*"))
    assert 1 <= len(states) <= 2
    assert all((state / "complete").is_file() for state in states)


def test_a_path_that_cannot_be_replaced_is_refused_before_training(
    configured, uninterrupted, tmp_path, monkeypatch, notes
):
    monkeypatch.chdir(shutil.copytree(uninterrupted.path, tmp_path / "checkpoint"))
    with pytest.raises(OSError, match="this process works in it"):
        train(configured, Path(), overwrite=True)
    assert notes() == []


def test_overwrite_starts_an_interrupted_run_anew(configured, interrupted, stopped_at):
    with stopped_at("epoch 1: "):
        train(configured, interrupted, overwrite=True)


def test_the_seconds_of_all_resumed_runs_are_counted(configured, interrupted):
    state = Path(last_complete(interrupted.parent / ".checkpoint.partial")) / "trainer_state.json"
    found = json.loads(state.read_text())
    found["log_history"][-1] = {"elapsed": 5000.0}
    state.write_text(json.dumps(found))
    assert 5000 < train(configured, interrupted, resume=True).metrics["seconds"] < 6000


def test_resume_without_a_run_starts_one(configured, tmp_path, uninterrupted):
    assert_same(train(configured, tmp_path / "checkpoint", resume=True), uninterrupted)


@pytest.mark.parametrize("epochs", [EPOCHS, EPOCHS + 1], ids=["same", "other"])
def test_an_interrupted_run_is_resumable_with_its_own_settings(
    write_config, tmp_path, interrupted, epochs
):
    made = config.load(write_config(tmp_path, training={"epochs": epochs}))
    assert resumable(made, interrupted) is (epochs == EPOCHS)


@pytest.mark.parametrize("epochs", [EPOCHS, EPOCHS + 1], ids=["same", "other"])
def test_a_finished_run_is_resumable_with_its_own_settings(
    write_config, tmp_path, uninterrupted, epochs
):
    made = config.load(write_config(tmp_path, training={"epochs": epochs}))
    assert resumable(made, uninterrupted.path) is (epochs == EPOCHS)


def test_what_is_no_checkpoint_is_not_resumable(configured, tmp_path):
    assert not resumable(configured, tmp_path / "data")


def test_a_run_that_has_not_begun_is_resumable(configured, tmp_path):
    assert resumable(configured, tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("complete", "half_written", "newest"),
    [
        pytest.param([], [], None, id="none"),
        pytest.param([], [5], None, id="only_half_written"),
        pytest.param([5], [10], 5, id="newer_one_half_written"),
        pytest.param([5, 90, 100], [], 100, id="by_number"),
    ],
)
def test_the_newest_state_that_was_written_to_its_end(tmp_path, complete, half_written, newest):
    for step in [*complete, *half_written]:
        (tmp_path / f"checkpoint-{step}").mkdir()
    for step in complete:
        (tmp_path / f"checkpoint-{step}" / "complete").touch()
    expected = None if newest is None else str(tmp_path / f"checkpoint-{newest}")
    assert last_complete(tmp_path) == expected


def test_a_finished_run_of_other_settings_says_which(write_config, tmp_path, uninterrupted):
    changes = {"training": {"epochs": EPOCHS, "seed": 7}, "heads": {"topic": {"dropout": 0.3}}}
    other = config.load(write_config(tmp_path, **changes))
    with (tmp_path / "data" / "train.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(CheckpointError) as caught:
        train(other, uninterrupted.path, resume=True)
    for told in (
        "heads.topic.dropout was 0.1, is 0.3",
        "training.seed was 1, is 7",
        "the files of messages train have changed",
    ):
        assert told in str(caught.value)
