import json
import subprocess

import pytest

from polyhead.cli.main import main
from polyhead.system.schema import plain
from polyhead_models import checkpoint, config
from polyhead_models.data import examples
from polyhead_models.evaluation import evaluate


@pytest.fixture
def polyhead(capfd):
    """Runs `polyhead WORDS` here: exit code, stdout and stderr."""

    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as exit:
            code = exit.code
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def test_train_writes_its_metrics_to_stdout_and_its_progress_to_stderr(
    polyhead, write_config, tmp_path
):
    path = write_config(tmp_path)
    words = ["train", path, "-o", tmp_path / "checkpoint"]
    code, out, err = polyhead(*words, "--json")
    assert code == 0
    assert json.loads(out) == checkpoint.metrics(tmp_path / "checkpoint")
    assert "epoch 2: topic accuracy " in err
    assert checkpoint.describe(tmp_path / "checkpoint").asked == config.load(path)
    code, out, err = polyhead(*words, "--resume")
    assert code == 0
    assert out.splitlines()[0].split() == [
        *("head", "metric", "validation", "texts", "chance", "TF-IDF"),
    ]
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["topic", "entities"]
    assert "already trained with these settings and data; kept" in err


def test_evaluate_writes_the_figures_as_json(polyhead, trained, trained_config, learnt):
    code, out, _ = polyhead(
        "evaluate", trained, trained.parent / "config.toml", "--split", "validation", "--json"
    )
    found = evaluate(learnt.engine(), examples.load(trained_config, "validation"))
    assert code == 0
    assert json.loads(out) == {"split": "validation", "heads": plain(found)}


def test_evaluate_shows_a_table_with_the_baseline(polyhead, trained):
    code, out, err = polyhead("evaluate", trained, trained.parent / "config.toml", "--baseline")
    header, _, topic, entities = out.splitlines()
    assert code == 0
    assert header.split() == ["head", "metric", "test", "texts", "TF-IDF"]
    assert [line.split()[:2] for line in (topic, entities)] == [
        ["topic", "accuracy"],
        ["entities", "f1"],
    ]
    assert "baseline of topic" in err


def test_evaluate_tells_of_cut_texts(polyhead, trained, write_config, tmp_path):
    path = write_config(tmp_path)
    row = {"text": "the " * 99, "topic": "home", "entities": []}
    (tmp_path / "data" / "test.jsonl").write_text(json.dumps(row))
    code, _, err = polyhead("evaluate", trained, path)
    assert code == 0
    assert "topic: 1 of 1 texts are longer than the encoder reads" in err


def test_evaluate_reads_a_bundle(polyhead, bundle, write_config, tmp_path):
    path = write_config(tmp_path)
    row = {"text": "thanks", "topic": "praise", "entities": []}
    (tmp_path / "data" / "test.jsonl").write_text(json.dumps(row))
    code, out, _ = polyhead("evaluate", bundle, path, "--json")
    assert code == 0
    assert {name: f["texts"] for name, f in json.loads(out)["heads"].items()} == {
        "topic": 1,
        "entities": 1,
    }


def test_evaluate_refuses_what_is_neither_checkpoint_nor_bundle(polyhead, trained):
    folder = trained.parent
    code, out, err = polyhead("evaluate", folder / "data", folder / "config.toml")
    assert (code, out) == (1, "")
    assert err == (
        f"polyhead evaluate: {folder / 'data'}: neither a checkpoint (polyhead.json) nor a bundle"
        " (manifest.json) is here.\n"
    )


def test_evaluate_refuses_a_split_that_no_source_has(polyhead, trained, write_config, tmp_path):
    path = write_config(tmp_path, data={"messages": {"test": None}})
    code, out, err = polyhead("evaluate", trained, path)
    assert (code, out) == (1, "")
    assert "no source has a 'test' split" in err


def test_evaluate_passes_over_heads_that_the_model_lacks(polyhead, trained, write_config, tmp_path):
    mood = {"kind": "classification", "data": "messages", "target": "topic"}
    path = write_config(tmp_path, heads={"mood": mood})
    code, out, _ = polyhead("evaluate", trained, path, "--json")
    assert code == 0
    assert set(json.loads(out)["heads"]) == {"topic", "entities"}


def test_evaluate_refuses_a_head_that_is_of_another_kind_in_the_model(
    polyhead, trained, write_config, tmp_path
):
    path = write_config(tmp_path, heads={"topic": {"kind": "tokens", "target": "entities"}})
    row = {"text": "thanks", "entities": []}
    (tmp_path / "data" / "test.jsonl").write_text(json.dumps(row))
    code, out, err = polyhead("evaluate", trained, path)
    assert (code, out) == (1, "")
    assert "'topic'" in err
    assert "classification" in err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["train"], 2, id="no_configuration"),
        pytest.param(["train", "{config}"], 2, id="no_output"),
        pytest.param(["train", "{config}", "-o", "x", "--resume", "--overwrite"], 2, id="both"),
        pytest.param(["evaluate", "{model}"], 2, id="evaluate_no_configuration"),
        pytest.param(["evaluate", "{model}", "{config}", "--split", "dev"], 2, id="split"),
        pytest.param(["train", "absent.toml", "-o", "x"], 1, id="missing_configuration"),
        pytest.param(["train", "{model}", "-o", "x"], 1, id="folder_as_configuration"),
        pytest.param(["train", "{config}", "-o", "{model}"], 1, id="output_exists"),
        pytest.param(["evaluate", "{model}", "absent.toml"], 1, id="evaluate_configuration"),
        pytest.param(["evaluate", "absent", "{config}"], 1, id="missing_model"),
    ],
)
def test_what_cannot_be_done_is_a_message_and_an_exit_code(polyhead, trained, words, code):
    known = {"config": trained.parent / "config.toml", "model": trained}
    found, out, err = polyhead(*(word.format(**known) for word in words))
    assert (found, out) == (code, "")
    assert f"polyhead {words[0]}: " in err


def test_quiet_shows_no_progress(command, trained):
    (start, environment), config = command, trained.parent / "config.toml"
    words = ["evaluate", trained, config, "--split", "validation", "--quiet"]
    done = subprocess.run(
        [*start, *map(str, words)], env=environment, capture_output=True, text=True, check=True
    )
    assert "topic" in done.stdout
    assert done.stderr == ""
