import json
import shutil

import pytest
import torch

from polyhead.system.schema import plain
from polyhead_models import checkpoint, config
from polyhead_models.data import examples
from polyhead_models.errors import CheckpointError, DataError, EncoderError
from polyhead_models.evaluation import evaluate
from polyhead_models.training import train


@pytest.fixture(scope="module")
def finished(write_config, tmp_path_factory):
    """Configuration, checkpoint and metrics of a short run; nobody writes to it."""
    folder = tmp_path_factory.mktemp("finished")
    made = config.load(write_config(folder))
    done = train(made, folder / "checkpoint")
    return made, done.path, done.metrics


@pytest.fixture
def copy(finished, tmp_path):
    """The short run's checkpoint as the test's own."""
    return shutil.copytree(finished[1], tmp_path / "checkpoint")


def weights(path):
    return checkpoint.load(path).model.state_dict()


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_tiny_encoder_learns_its_training_rows_by_heart(learnt, trained_config):
    found = evaluate(learnt.engine(), examples.load(trained_config, "train"))
    assert found["topic"].figures["accuracy"] == 1.0
    assert found["entities"].figures["f1"] > 0.95


def test_a_finished_run_leaves_the_checkpoint_and_nothing_else(finished):
    _, path, _ = finished
    assert {p.name for p in path.parent.iterdir()} == {"data", "config.toml", "checkpoint"}
    assert set(content(path)) == {
        "model.safetensors",
        "polyhead.json",
        "tokenizer.json",
        "metrics.json",
        "learning_curves.png",
    }


def test_metrics_tell_what_was_run(finished):
    metrics = finished[2]
    assert (metrics["examples"], metrics["precision"]) == (36, "fp32")
    assert [entry["epoch"] for entry in metrics["history"]] == [1, 2]
    best = metrics["history"][metrics["best_epoch"] - 1]
    assert best["validation"] == metrics["validation"]


def test_validation_metrics_are_those_of_the_checkpoint(write_config, tmp_path):
    made = config.load(write_config(tmp_path, training={"precision": "bf16", "epochs": 1}))
    done = train(made, tmp_path / "checkpoint")
    engine = checkpoint.load(done.path).engine()
    assert done.metrics["validation"] == plain(evaluate(engine, examples.load(made, "validation")))
    assert done.metrics["precision"] == "bf16"


def test_a_seed_gives_the_same_weights_again(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # transformers 4 leaves it behind
    made, path, _ = finished
    again = weights(train(made, tmp_path / "again").path)
    assert all(torch.equal(again[name], value) for name, value in weights(path).items())


def test_another_seed_gives_other_weights(finished, write_config, tmp_path):
    made = config.load(write_config(tmp_path, training={"seed": 2}))
    other = weights(train(made, tmp_path / "other").path)
    assert not any(
        torch.equal(other[name], value)
        for name, value in weights(finished[1]).items()
        if name.startswith("heads.")
    )


def test_a_head_without_weight_in_the_loss_does_not_learn(write_config, tmp_path):
    heads = {"topic": {"loss_weight": 0.0, "dropout": 0.0}}
    found = []
    for epochs in (1, 2):
        training = {"epochs": epochs, "weight_decay": 0.0}
        path = write_config(tmp_path, heads=heads, training=training)
        found.append(weights(train(config.load(path), tmp_path / f"after_{epochs}").path))
    same = {name for name in found[0] if torch.equal(found[0][name], found[1][name])}
    assert {name for name in found[0] if "topic." in name} <= same
    assert not any("entities." in name for name in same)


def test_over_long_training_texts_are_cut_and_counted(write_config, tmp_path, notes):
    made = config.load(write_config(tmp_path, encoder={"max_tokens": 16}, training={"epochs": 1}))
    train(made, tmp_path / "checkpoint")
    tokenizer = checkpoint.load(tmp_path / "checkpoint").tokenizer
    texts = [example.text for example in examples.load(made, "train")]
    long = sum(len(encoding) > 16 for encoding in tokenizer.encode(texts))
    assert 0 < long < 36
    assert notes()[0].startswith(f"{long} of 36 training texts are longer than max_tokens = 16")


def test_what_is_there_is_not_replaced_without_a_flag(finished, copy):
    before = content(copy)
    with pytest.raises(CheckpointError, match=r"exists\. .*--overwrite, pass --resume"):
        train(finished[0], copy)
    assert content(copy) == before


def test_a_finished_run_is_kept_with_resume(finished, copy):
    before = content(copy)
    done = train(finished[0], copy, resume=True)
    assert (done.reused, done.metrics) == (True, finished[2])
    assert content(copy) == before


def test_a_finished_run_is_kept_wherever_its_data_lies(copy, write_config, tmp_path):
    moved = config.load(write_config(tmp_path / "moved"))
    assert train(moved, copy, resume=True).reused


def test_a_finished_run_of_other_settings_is_refused(copy, write_config, tmp_path):
    other = config.load(write_config(tmp_path, training={"epochs": 3}))
    before = content(copy)
    with pytest.raises(CheckpointError, match="trained with other settings or data"):
        train(other, copy, resume=True)
    assert content(copy) == before


def test_a_finished_run_of_other_data_is_refused(copy, write_config, tmp_path):
    other = config.load(write_config(tmp_path))
    path = tmp_path / "data" / "train.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("Anna", "Anne"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="trained with other settings or data"):
        train(other, copy, resume=True)


def test_overwrite_replaces_a_checkpoint(copy, write_config, tmp_path):
    other = config.load(write_config(tmp_path, training={"epochs": 1}))
    done = train(other, copy, overwrite=True)
    assert not done.reused
    assert checkpoint.describe(copy).config.training.epochs == 1


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_overwrite_leaves_alone_what_is_no_checkpoint(finished, tmp_path, kind):
    thesis = tmp_path / "thesis"
    if kind == "folder":
        thesis.mkdir()
    file = thesis / "chapter.txt" if kind == "folder" else thesis
    file.write_text("1")
    with pytest.raises(CheckpointError, match="exists and is no checkpoint"):
        train(finished[0], thesis, overwrite=True)
    assert file.read_text() == "1"


@pytest.mark.parametrize(
    ("split", "change"),
    [
        pytest.param("train", {"text": ""}, id="no_text"),
        pytest.param("train", {"entities": [{"label": "A", "start": 0, "end": 99}]}, id="span"),
        pytest.param("train", {"text": "\ud800", "entities": []}, id="surrogate"),
        pytest.param("validation", {"topic": "homes"}, id="unseen_label"),
        pytest.param("validation", {"text": 3}, id="validation_text"),
        pytest.param("validation", {"text": "\ud800", "entities": []}, id="validation_surrogate"),
    ],
)
def test_an_error_in_the_data_is_named_and_leaves_nothing(write_config, tmp_path, split, change):
    made = config.load(write_config(tmp_path, heads={"topic": {"unseen": "error"}}))
    good = {"text": "Anna", "topic": "home", "entities": []}
    rows = [good, {**good, **change}]
    path = tmp_path / "data" / f"{split}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines, *map(json.dumps, rows)]), encoding="utf-8")
    with pytest.raises(DataError, match=rf"{split}\.jsonl:{len(lines) + 2}: "):
        train(made, tmp_path / "checkpoint")
    assert {p.name for p in tmp_path.iterdir()} == {"data", "config.toml"}


def test_an_encoder_that_cannot_be_found_leaves_nothing(write_config, tmp_path):
    made = config.load(write_config(tmp_path, encoder={"name": "no/such-encoder"}))
    with pytest.raises(EncoderError, match="encoder 'no/such-encoder': cannot be loaded"):
        train(made, tmp_path / "checkpoint")
    assert {p.name for p in tmp_path.iterdir()} == {"data", "config.toml"}
