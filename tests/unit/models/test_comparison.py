import itertools
import json
import re

import pytest

from polyhead.cli.main import main
from polyhead.system.schema import plain
from polyhead_models import checkpoint, config
from polyhead_models.data import examples
from polyhead_models.errors import CheckpointError, ConfigError, DataError
from polyhead_models.evaluation import evaluate
from polyhead_models.report.comparison import compare, report_folder, single
from polyhead_models.training import train

REPORT = {"report.md", "report.json", "report.png", "single"}


class Stopped(Exception):
    """What stops a run."""


@pytest.fixture(scope="module")
def compared(write_config, tmp_path_factory):
    """Configuration and comparison of a short run; nobody writes to it."""
    folder = tmp_path_factory.mktemp("compared")
    made = config.load(write_config(folder, training={"epochs": 20, "learning_rate": 6e-3}))
    return made, compare(made, folder / "checkpoint")


@pytest.fixture(scope="module")
def compared_short(write_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared_short")
    return compare(config.load(write_config(folder)), folder / "checkpoint")


@pytest.fixture
def configured(write_config, tmp_path):
    return config.load(write_config(tmp_path))


def test_a_report_lies_beside_the_checkpoint(compared):
    _, done = compared
    assert done.folder == done.trained.path.with_name("checkpoint-report")
    assert {path.name for path in done.folder.iterdir()} == REPORT
    assert {path.name for path in (done.folder / "single").iterdir()} == {"topic", "entities"}


def test_the_figures_are_those_of_the_checkpoints(compared):
    made, done = compared
    test = examples.load(made, "test")
    joint = evaluate(checkpoint.load(done.trained.path).engine(), test)
    for name, head in done.report.heads.items():
        alone = evaluate(checkpoint.load(done.folder / "single" / name).engine(), test)[name]
        assert (head.joint.value, head.single.value) == (joint[name].value, alone.value)
        assert head.difference.value == joint[name].value - alone.value
        assert (head.metric, head.texts, head.split) == (alone.metric, alone.texts, "test")


def test_intervals_are_ordered(compared):
    for head in compared[1].report.heads.values():
        for estimate in (head.joint, head.single, head.difference):
            assert estimate.low <= estimate.value <= estimate.high


def test_a_single_run_is_that_of_a_configuration_with_one_head(compared, tmp_path):
    made, done = compared
    own = train(single(made, "topic"), tmp_path / "own")
    kept = json.loads((done.folder / "single" / "topic" / "metrics.json").read_text())
    assert {**kept, "seconds": 0} == {**own.metrics, "seconds": 0}


def test_a_single_run_has_the_recipe_of_the_joint_one(compared):
    made, done = compared
    found = checkpoint.describe(done.folder / "single" / "entities").config
    assert (found.encoder, found.training) == (made.encoder, made.training)
    assert found.heads == {"entities": made.heads["entities"]}


def test_costs_are_counted(compared):
    report = compared[1].report
    topic = checkpoint.load(compared[1].folder / "single" / "topic").model
    assert report.singles["topic"].parameters == sum(p.numel() for p in topic.parameters())
    total = sum(run.parameters for run in report.singles.values())
    assert report.singles_together.parameters == total > report.joint.parameters
    assert report.joint.epochs == 20
    assert report.joint.best_epoch == compared[1].trained.metrics["best_epoch"]
    assert report.joint.examples == 36


def test_the_json_is_the_report_as_plain_data(compared):
    _, done = compared
    found = json.loads((done.folder / "report.json").read_text(encoding="utf-8"))
    assert found == plain(done.report)
    assert (found["format"], found["version"]) == ("polyhead-comparison", 1)


def test_the_page_shows_every_head_and_run(compared):
    _, done = compared
    text = (done.folder / "report.md").read_text(encoding="utf-8")
    for name, head in done.report.heads.items():
        row = f"| {name} | {head.metric} | test | 6 | {head.joint.value:.4f} ("
        assert row in text
        assert f"| {name} alone | {done.report.singles[name].parameters:,} |" in text
    assert f"| joint | {done.report.joint.parameters:,} |" in text
    assert "(report.png)" in text
    assert "All figures are of the test split." in text


def test_without_a_test_split_the_validation_split_is_named(write_config, tmp_path):
    path = write_config(tmp_path, data={"messages": {"test": None}}, training={"epochs": 1})
    done = compare(config.load(path), tmp_path / "checkpoint")
    assert {head.split for head in done.report.heads.values()} == {"validation"}
    text = (done.folder / "report.md").read_text(encoding="utf-8")
    assert "No test split: topic, entities; the figures are of the validation split" in text


def test_heads_of_several_sources_are_compared_on_their_own_texts(
    write_config, write_rows, tmp_path
):
    row = {"words": "thanks Anna", "mood": "good"}
    file = write_rows(tmp_path / "moods.jsonl", [row, {"words": "late", "mood": "bad"}] * 4)
    path = write_config(
        tmp_path,
        data={"moods": {"train": str(file), "validation": str(file)}},
        heads={
            "entities": None,
            "mood": {"kind": "classification", "data": "moods", "text": "words", "target": "mood"},
        },
        training={"epochs": 1},
    )
    heads = compare(config.load(path), tmp_path / "checkpoint").report.heads
    found = {name: (head.split, head.texts) for name, head in heads.items()}
    assert found == {"topic": ("test", 6), "mood": ("validation", 8)}


def test_texts_in_windows_are_counted(write_config, tmp_path):
    path = write_config(tmp_path, encoder={"max_tokens": 16}, training={"epochs": 1})
    done = compare(config.load(path), tmp_path / "checkpoint")
    assert all(head.windowed > 0 for head in done.report.heads.values())
    assert "Texts read in several windows: topic: " in (done.folder / "report.md").read_text()


@pytest.mark.parametrize("stop", range(6), ids=lambda stop: f"after_{stop}")
def test_an_interrupted_comparison_is_resumed(compared_short, configured, tmp_path, stop):
    """Two epochs of each of three runs: whichever is the last, no finished epoch is repeated."""
    seen = itertools.count()

    def note(text):
        if text.startswith("epoch ") and next(seen) == stop:
            raise Stopped

    target = tmp_path / "checkpoint"
    with pytest.raises(Stopped):
        compare(configured, target, note=note)
    notes = []
    done = compare(configured, target, resume=True, note=notes.append)
    assert sum(text.startswith("epoch ") for text in notes) == 6 - stop
    assert done.report.heads == compared_short.report.heads
    assert {path.name for path in (done.folder / "single").iterdir()} == {"topic", "entities"}


def test_a_finished_comparison_is_the_same_again(configured, tmp_path):
    first = compare(configured, tmp_path / "checkpoint")
    before = {name: (first.folder / name).read_bytes() for name in REPORT - {"single"}}
    notes = []
    again = compare(configured, tmp_path / "checkpoint", resume=True, note=notes.append)
    assert again.trained.reused
    assert not any(note.startswith("epoch ") for note in notes)
    assert {name: (again.folder / name).read_bytes() for name in before} == before


def test_a_joint_checkpoint_that_is_there_is_kept(configured, tmp_path):
    train(configured, tmp_path / "checkpoint")
    notes = []
    done = compare(configured, tmp_path / "checkpoint", resume=True, note=notes.append)
    assert done.trained.reused
    assert notes[0] == "topic alone:"


def test_only_what_is_missing_is_trained(configured, tmp_path):
    done = compare(configured, tmp_path / "checkpoint")
    (done.folder / "single" / "entities").rename(tmp_path / "away")
    notes = []
    again = compare(configured, tmp_path / "checkpoint", resume=True, note=notes.append)
    assert [n.split(":")[0] for n in notes] == [
        "topic alone",
        "entities alone",
        "epoch 1",
        "epoch 2",
    ]
    assert again.report.heads == done.report.heads


def test_a_report_that_is_there_is_not_replaced_without_a_flag(configured, tmp_path):
    folder = report_folder(tmp_path / "checkpoint")
    folder.mkdir()
    with pytest.raises(CheckpointError, match=r"checkpoint-report: exists\. .*--overwrite"):
        compare(configured, tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_single_runs_of_other_settings_are_refused_before_any_training(
    write_config, configured, tmp_path
):
    path = report_folder(tmp_path / "checkpoint") / "single" / "entities"
    train(single(configured, "entities"), path)
    other = config.load(write_config(tmp_path, training={"epochs": 1}))
    with pytest.raises(CheckpointError, match="single/entities: was trained with other settings"):
        compare(other, tmp_path / "checkpoint", resume=True)
    assert not (tmp_path / "checkpoint").exists()


def test_overwrite_trains_all_anew(write_config, configured, tmp_path):
    compare(configured, tmp_path / "checkpoint")
    mood = {"kind": "classification", "data": "messages", "target": "topic"}
    other = config.load(
        write_config(tmp_path, heads={"topic": None, "mood": mood}, training={"epochs": 1})
    )
    done = compare(other, tmp_path / "checkpoint", overwrite=True)
    assert set(done.report.heads) == {"entities", "mood"}
    assert {path.name for path in (done.folder / "single").iterdir()} == {"entities", "mood"}


def test_overwrite_leaves_alone_what_is_no_checkpoint(configured, tmp_path):
    thesis = report_folder(tmp_path / "checkpoint") / "single" / "thesis"
    thesis.mkdir(parents=True)
    train(single(configured, "topic"), thesis.with_name("topic"))
    with pytest.raises(CheckpointError, match="thesis: is no checkpoint"):
        compare(configured, tmp_path / "checkpoint", overwrite=True)
    assert {path.name for path in thesis.parent.iterdir()} == {"thesis", "topic"}


def test_one_trained_head_is_nothing_to_compare(write_config, tmp_path):
    made = config.load(write_config(tmp_path, heads={"entities": None}))
    with pytest.raises(ConfigError, match=r"heads: found 1 with .*\(topic\).*two on"):
        compare(made, tmp_path / "checkpoint")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "config.toml"}


def test_a_head_without_held_out_texts_is_an_error_before_any_training(write_config, tmp_path):
    changes = {"test": None, "validation": None}
    made = config.load(write_config(tmp_path, data={"messages": changes}))
    with pytest.raises(ConfigError, match="neither a test nor a validation"):
        compare(made, tmp_path / "checkpoint")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "config.toml"}


def test_a_label_that_stands_in_the_test_split_alone_is_named(write_config, tmp_path):
    made = config.load(write_config(tmp_path))
    row = {"text": "Anna", "topic": "homes", "entities": []}
    (tmp_path / "data" / "test.jsonl").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(DataError, match=r"test\.jsonl:1: head 'topic'"):
        compare(made, tmp_path / "checkpoint")


def test_the_command_shows_the_comparison(compared, capfd):
    _, done = compared
    words = ["train", done.trained.path.with_name("config.toml"), "-o", done.trained.path]
    assert main([*map(str, words), "--compare-single", "--resume"]) == 0
    out, err = capfd.readouterr()
    header, _, *rows = out.splitlines()
    assert re.split(r"  +", header)[4:] == ["joint", "single", "difference", "95% interval"]
    assert [row.split()[0] for row in rows] == ["topic", "entities"]
    assert f"report: {done.folder}" in err


def test_the_command_writes_the_report_as_json(compared, capfd):
    _, done = compared
    words = ["train", done.trained.path.with_name("config.toml"), "-o", done.trained.path]
    assert main([*map(str, words), "--compare-single", "--resume", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == plain(done.report)
