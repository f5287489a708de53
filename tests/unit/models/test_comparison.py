import json
import re
import shutil

import pytest

from polyhead.cli.main import main
from polyhead.system.schema import plain
from polyhead_models import checkpoint, config
from polyhead_models.comparison import HEADER, compare, report_folder, single
from polyhead_models.data import examples
from polyhead_models.errors import CheckpointError, ConfigError, DataError
from polyhead_models.evaluation import evaluate
from polyhead_models.training import train


@pytest.fixture(scope="module")
def compared(write_config, tmp_path_factory):
    """Configuration, target and heads of a short comparison; nobody writes to it."""
    folder = tmp_path_factory.mktemp("compared")
    made = config.load(write_config(folder))
    return made, folder / "checkpoint", compare(made, folder / "checkpoint")


@pytest.fixture
def configured(write_config, tmp_path):
    return config.load(write_config(tmp_path))


def test_a_report_is_next_to_the_checkpoint(compared):
    folder = report_folder(compared[1])
    assert folder == compared[1].with_name("checkpoint-report")
    assert {path.name for path in folder.iterdir()} == {"report.md", "report.json", "single"}
    assert {path.name for path in (folder / "single").iterdir()} == {"topic", "entities"}


def test_the_metrics_are_those_of_the_checkpoints(compared):
    made, target, heads = compared
    test = examples.load(made, "test")
    joint = evaluate(checkpoint.load(target).engine(), test)
    for name, head in heads.items():
        path = report_folder(target) / "single" / name
        alone = evaluate(checkpoint.load(path).engine(), test)[name]
        assert (head.joint.value, head.single.value) == (joint[name].value, alone.value)
        assert head.difference.value == joint[name].value - alone.value
        assert (head.metric, head.texts, head.split) == (alone.metric, alone.texts, "test")


def test_a_single_run_is_that_of_a_configuration_with_one_head(compared, tmp_path):
    made, target, _ = compared
    own = train(single(made, "topic"), tmp_path / "own")
    kept = checkpoint.metrics(report_folder(target) / "single" / "topic")
    assert {**kept, "seconds": 0} == {**own.metrics, "seconds": 0}


def test_the_json_has_heads_and_costs(compared):
    made, target, heads = compared
    found = json.loads((report_folder(target) / "report.json").read_text(encoding="utf-8"))
    assert found["heads"] == plain(heads)
    assert list(found["runs"]) == ["joint", "topic alone", "entities alone"]
    topic = checkpoint.load(report_folder(target) / "single" / "topic").model
    alone = found["runs"]["topic alone"]
    assert alone["parameters"] == sum(p.numel() for p in topic.parameters())
    assert (alone["epochs"], alone["examples"]) == (made.training.epochs, 36)


def test_the_page_shows_every_head_and_run(compared):
    _, target, heads = compared
    text = (report_folder(target) / "report.md").read_text(encoding="utf-8")
    for name, head in heads.items():
        assert f"| {name} | {head.metric} | test | 6 | 0 | {head.joint.value:.4f} (" in text
        assert f"| {name} alone | " in text


def test_the_rows_that_a_head_has_seen_are_counted(compared):
    """Each epoch has its 36 rows once; this source is the only one, so every step has some."""
    folder = report_folder(compared[1])
    runs = {"joint": compared[1], "single": folder / "single" / "topic"}
    for run, path in runs.items():
        metrics = checkpoint.metrics(path)
        share = metrics["best_epoch"] / len(metrics["history"])
        expected = {"rows": 36 * metrics["best_epoch"], "steps": share * metrics["steps"]}
        assert compared[2]["topic"].seen[run] == expected
    seen = compared[2]["topic"].seen
    shown = f"| {seen['joint']['rows']} / {seen['single']['rows']} |"
    assert shown in (folder / "report.md").read_text(encoding="utf-8")


def test_each_head_is_compared_on_test_texts_or_else_validation_texts_of_its_source(
    write_config, write_rows, tmp_path
):
    row = {"words": "thanks Anna", "mood": "good"}
    file = write_rows(tmp_path / "moods.jsonl", [row, {"words": "late", "mood": "bad"}] * 4)
    path = write_config(
        tmp_path,
        data={"moods": {"train": str(file), "validation": str(file)}},
        encoder={"max_tokens": 16},
        heads={
            "entities": None,
            "mood": {"kind": "classification", "data": "moods", "text": "words", "target": "mood"},
        },
        training={"epochs": 1},
    )
    heads = compare(config.load(path), tmp_path / "checkpoint")
    found = {name: (head.split, head.texts) for name, head in heads.items()}
    assert found == {"topic": ("test", 6), "mood": ("validation", 8)}
    assert heads["topic"].windowed > 0


def test_an_interrupted_comparison_is_resumed(compared, configured, stopped_at, notes, tmp_path):
    """Two epochs of each of three runs: no finished one is repeated."""
    shutil.copytree(compared[1], tmp_path / "checkpoint")
    with stopped_at("epoch ", nth=2):
        compare(configured, tmp_path / "checkpoint", resume=True)
    before = len(notes())
    assert compare(configured, tmp_path / "checkpoint", resume=True) == compared[2]
    assert sum(note.startswith("epoch ") for note in notes()[before:]) == 3


def test_a_joint_checkpoint_that_is_there_is_not_replaced_without_a_flag(compared, notes):
    made, target, _ = compared
    with pytest.raises(CheckpointError, match=r"checkpoint: exists\. .*--overwrite"):
        compare(made, target)
    assert notes() == []


def test_overwrite_trains_all_anew(compared, write_config, tmp_path):
    target = shutil.copytree(compared[1], tmp_path / "checkpoint")
    shutil.copytree(report_folder(compared[1]), report_folder(target))
    other = config.load(write_config(tmp_path, training={"epochs": 1}))
    compare(other, target, overwrite=True)
    for folder in (target, report_folder(target) / "single" / "topic"):
        assert checkpoint.describe(folder).config.training.epochs == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"heads": {"entities": None}}, id="one_head"),
        pytest.param({"data": {"messages": {"test": None, "validation": None}}}, id="no_texts"),
    ],
)
def test_nothing_to_compare_is_an_error_before_any_training(write_config, tmp_path, changes):
    made = config.load(write_config(tmp_path, **changes))
    with pytest.raises(ConfigError, match=r"heads: found topic.*two on, each with such texts"):
        compare(made, tmp_path / "checkpoint")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "config.toml"}


def test_a_head_without_a_known_label_in_its_test_rows_is_named(write_config, tmp_path):
    made = config.load(write_config(tmp_path))
    row = {"text": "Anna", "topic": "homes", "entities": []}
    (tmp_path / "data" / "test.jsonl").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(DataError, match="head 'topic': no test row is left to compare by"):
        compare(made, tmp_path / "checkpoint")


def test_a_checkpoint_that_did_not_count_its_rows_is_an_error(compared, tmp_path):
    made, trained, _ = compared
    target = shutil.copytree(trained, tmp_path / "checkpoint")
    file = target / "metrics.json"
    metrics = json.loads(file.read_text(encoding="utf-8"))
    del metrics["seen"]
    file.write_text(json.dumps(metrics), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"an older polyhead trained it.*--overwrite"):
        compare(made, target, resume=True)


def test_the_command_shows_the_comparison(compared, capfd):
    _, target, _ = compared
    words = ["train", target.with_name("config.toml"), "-o", target]
    assert main([*map(str, words), "--compare-single", "--resume"]) == 0
    out, err = capfd.readouterr()
    header, _, *rows = out.splitlines()
    assert re.split(r"  +", header) == list(HEADER)
    assert [row.split()[0] for row in rows] == ["topic", "entities"]
    assert f"report: {report_folder(target)}" in err


def test_the_command_writes_the_report_as_json(compared, capfd):
    _, target, heads = compared
    words = ["train", target.with_name("config.toml"), "-o", target]
    assert main([*map(str, words), "--compare-single", "--resume", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["heads"] == plain(heads)
