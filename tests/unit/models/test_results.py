"""`polyhead results`: several checkpoints on their test splits, as a page and as JSON."""

import argparse
import json
import shutil
from dataclasses import replace

import pytest

from polyhead import PolyheadError
from polyhead.system import cpu
from polyhead.system.schema import plain
from polyhead_models import checkpoint, config, training
from polyhead_models.baseline import baseline
from polyhead_models.cli import results as command
from polyhead_models.data import examples
from polyhead_models.errors import CheckpointError, ConfigError, DataError
from polyhead_models.evaluation import evaluate
from polyhead_models.results import page
from polyhead_models.results.collect import collect
from polyhead_models.results.contents import Report


def run(*words):
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.execute(parser.parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def report(trained):
    return collect([trained], note=lambda _: None)


def edited(trained, target, change):
    """A copy of the checkpoint, its polyhead.json changed by a function of the plain table."""
    shutil.copytree(trained, target)
    file = target / checkpoint.DESCRIPTION
    table = json.loads(file.read_text())
    change(table)
    file.write_text(json.dumps(table))
    return target


def test_heads_have_the_figures_of_evaluate(report, trained_config, learnt):
    found = evaluate(learnt.engine(), examples.load(trained_config, "test"))
    (recipe,) = report.recipes
    assert {name: head.test for name, head in recipe.heads.items()} == {
        name: figures.figures for name, figures in found.items()
    }
    assert {name: head.test_texts for name, head in recipe.heads.items()} == {
        "topic": 6,
        "entities": 6,
    }


def test_heads_have_the_figures_of_the_baseline(report, trained_config):
    train, test = (examples.load(trained_config, split) for split in ("train", "test"))
    head = report.recipes[0].heads["topic"]
    assert head.baseline == baseline("classification.v1", "topic", train, test)
    assert head.training_texts == len(train)


def test_heads_have_the_validation_figures_of_training(report, trained):
    remembered = checkpoint.metrics(trained)["validation"]
    for name, head in report.recipes[0].heads.items():
        assert head.validation == remembered[name]["figures"]


def test_the_run_is_told(report, trained):
    (recipe,) = report.recipes
    metrics = checkpoint.metrics(trained)
    assert recipe.recipe == "checkpoint"
    assert recipe.seconds == metrics["seconds"]
    assert (recipe.epochs, recipe.best_epoch) == (60, metrics["best_epoch"])
    assert (recipe.precision, recipe.seed) == ("fp32", 1)
    assert recipe.trained_with == plain(checkpoint.describe(trained).provenance)
    assert report.cpu == cpu.describe()


def test_without_validation_all_epochs_were_run(write_config, tmp_path):
    path = write_config(tmp_path, data={"messages": {"validation": None}})
    made = training.train(config.load(path), tmp_path / "blind", note=lambda _: None).path
    (recipe,) = collect([made], note=lambda _: None).recipes
    assert (recipe.epochs, recipe.best_epoch) == (2, 2)
    assert recipe.heads["topic"].validation is None


def test_the_command_writes_page_and_json(trained, report, tmp_path, capsys):
    assert run(trained, "-o", tmp_path / "new" / "RESULTS.md", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == plain(report)
    assert json.loads((tmp_path / "new/RESULTS.json").read_text()) == plain(report)
    shown = (tmp_path / "new/RESULTS.md").read_text()
    assert shown == page.markdown(report, data="RESULTS.json")
    assert "checkpoint: topic: accuracy " in captured.err


def test_the_command_shows_the_table(trained, tmp_path, capsys):
    assert run(trained, "-o", tmp_path / "RESULTS.md") == 0
    header, _, topic, entities = capsys.readouterr().out.splitlines()
    assert header.split()[:5] == list(page.FIGURES[:5])
    assert topic.split()[:3] == ["checkpoint", "topic", "accuracy"]
    assert entities.split()[:3] == ["checkpoint", "entities", "f1"]


def test_the_page_has_a_row_a_head(report):
    head = report.recipes[0].heads["topic"]
    test, by_words = head.test["accuracy"], head.baseline["accuracy"]
    row = f"| checkpoint | topic | accuracy | {test:.4f} | {by_words:.4f} | 6 | 36 |"
    assert row in page.markdown(report, data="x.json").splitlines()


def test_a_page_shows_what_a_table_cannot_hold_as_it_is(report):
    (recipe,) = report.recipes
    heads = {"topic": replace(recipe.heads["topic"], baseline=None)}
    changed = replace(report, recipes=[replace(recipe, recipe="a|b", heads=heads, seconds=None)])
    shown = page.markdown(changed, data="x.json")
    assert "| a\\|b | topic | accuracy | 1.0000 | - | 6 | 36 |" in shown
    assert "| - | 60 |" in shown


def test_a_page_tells_of_other_versions_in_training(report):
    (recipe,) = report.recipes
    shown = page.markdown(report, data="x.json")
    assert "was trained with" not in shown
    older = replace(recipe, trained_with={**recipe.trained_with, "torch": "2.9.0"})
    shown = page.markdown(replace(report, recipes=[older]), data="x.json")
    assert "- checkpoint was trained with polyhead " in shown
    assert "torch 2.9.0" in shown


def test_unknown_flags_of_a_cpu_are_told(report):
    bare = replace(report, cpu=cpu.Cpu(model="arm64", flags=()))
    assert "- figures: arm64 (flags unknown); polyhead " in page.markdown(bare, data="x.json")


def test_several_checkpoints_stand_in_the_order_asked_for(trained, tmp_path):
    other = tmp_path / "another"
    shutil.copytree(trained, other)
    found = collect([other, trained], note=lambda _: None)
    assert [recipe.recipe for recipe in found.recipes] == ["another", "checkpoint"]
    assert isinstance(found, Report)


def test_two_checkpoints_of_one_name_are_refused(trained, tmp_path):
    other = tmp_path / trained.name
    shutil.copytree(trained, other)
    with pytest.raises(ConfigError, match=r"two checkpoints are called 'checkpoint'"):
        collect([trained, other])


def test_a_checkpoint_without_a_test_split_is_refused(trained, tmp_path):
    def drop(table):
        table["config"]["data"]["messages"]["test"] = None

    bare = edited(trained, tmp_path / "bare", drop)
    with pytest.raises(DataError, match=r"bare: its head 'topic' has no test split.*test_share"):
        collect([bare])


def test_changed_training_data_is_refused(trained, write_rows, tmp_path):
    def move(table):
        table["config"]["data"]["messages"]["train"] = str(tmp_path / "train.jsonl")

    write_rows(tmp_path / "train.jsonl", [{"text": "a", "topic": "home", "entities": []}])
    moved = edited(trained, tmp_path / "moved", move)
    with pytest.raises(DataError, match=r"moved: its training or validation files are no longer"):
        collect([moved])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(None, "no such file", id="missing"),
        pytest.param("[]", "found no table", id="no_table"),
        pytest.param("{}", "the key 'validation' is missing", id="no_figures"),
    ],
)
def test_bad_metrics_are_refused(trained, tmp_path, text, message):
    broken = tmp_path / "broken"
    shutil.copytree(trained, broken)
    file = broken / checkpoint.METRICS
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(CheckpointError, match=message):
        collect([broken])


def test_a_missing_checkpoint_is_told_before_anything_is_evaluated(trained, tmp_path):
    notes = []
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        collect([trained, tmp_path / "absent"], note=notes.append)
    assert notes == []


@pytest.mark.parametrize("name", ["RESULTS", "RESULTS.json"])
def test_the_output_must_be_a_page(trained, tmp_path, name):
    with pytest.raises(PolyheadError, match=r"which ends in \.md"):
        run(trained, "-o", tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_updated_page_keeps_the_other_checkpoints(trained, tmp_path):
    target, other = tmp_path / "PAGE.md", tmp_path / "another"
    shutil.copytree(trained, other)
    assert run(other, "-o", target) == 0
    before = json.loads(target.with_suffix(".json").read_text())["recipes"]
    assert run(trained, "-o", target, "--update", "--no-baseline") == 0
    after = json.loads(target.with_suffix(".json").read_text())["recipes"]
    assert [recipe["recipe"] for recipe in after] == ["another", "checkpoint"]
    assert after[0] == before[0]
    assert {head["baseline"] for head in after[1]["heads"].values()} == {None}
    assert run(trained, "-o", target) == 0
    assert "another" not in target.read_text()


def test_figures_of_two_machines_do_not_share_a_page(report, trained):
    elsewhere = replace(report, cpu=replace(report.cpu, model="another"))
    with pytest.raises(ConfigError, match="another CPU or with other versions"):
        collect([trained], known=elsewhere, note=lambda _: None)


def test_a_file_of_another_form_is_not_updated(trained, tmp_path):
    (tmp_path / "PAGE.json").write_text('{"recipes": 1}')
    with pytest.raises(ConfigError, match=r"PAGE\.json"):
        run(trained, "-o", tmp_path / "PAGE.md", "--update")
