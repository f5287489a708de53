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
        *("head", "metric", "validation", "texts", "chance", "TF-IDF", "untouched", "agreement"),
    ]
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["topic", "entities", "embedding"]
    assert "already trained with these settings and data; kept" in err


def test_evaluate_writes_the_figures_as_json(polyhead, trained, trained_config, learnt):
    code, out, _ = polyhead(
        "evaluate", trained, trained.parent / "config.toml", "--split", "validation", "--json"
    )
    found = evaluate(learnt.engine(), examples.load(trained_config, "validation"))
    report = json.loads(out)
    assert code == 0
    assert set(report) == {"split", "heads"}
    assert report["split"] == "validation"
    for head, figures in plain(found).items():
        assert report["heads"][head].items() >= figures.items()


def test_evaluate_shows_a_table_with_the_baseline(polyhead, trained):
    code, out, err = polyhead("evaluate", trained, trained.parent / "config.toml", "--baseline")
    header, _, topic, entities, *_ = out.splitlines()
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


TEST_ROWS = [
    {"text": "Anna lives in Oslo", "topic": "home", "language": "en"},
    {"text": "the parcel of Bo was late in Rome", "topic": "praise", "language": "en"},
    {"text": "thanks, Chen: in Rome the parcel is not late!", "topic": "praise", "language": None},
    {"text": "Zoé lives in 東京", "topic": "delivery", "language": "zh", "entities": []},
]


@pytest.fixture
def own_rows(write_config, write_rows, tmp_path):
    """A configuration with `TEST_ROWS`, of which the model answers the first and the third right.

    The last holds two spans where its row has none.
    """
    path = write_config(tmp_path)
    write_rows(tmp_path / "data" / "test.jsonl", TEST_ROWS)
    return path


def test_evaluate_writes_labels_confusions_and_the_worst_errors_as_json(
    polyhead, trained, own_rows
):
    code, out, _ = polyhead("evaluate", trained, own_rows, "--json")
    topic, entities = json.loads(out)["heads"].values()
    assert code == 0
    assert topic["labels"]["praise"] == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "support": 2,
        "answered": 1,
    }
    assert list(topic["labels"]) == ["delivery", "home", "praise"]
    assert topic["confusions"] == [
        {"gold": "delivery", "answer": "home", "count": 1},
        {"gold": "praise", "answer": "delivery", "count": 1},
    ]
    first, second = topic["worst"]
    assert first["score"] >= second["score"] > 0.5
    assert {(one["text"], one["gold"], one["answer"]) for one in topic["worst"]} == {
        (TEST_ROWS[1]["text"], "praise", "delivery"),
        (TEST_ROWS[3]["text"], "delivery", "home"),
    }
    (worst,) = entities["worst"]
    assert worst["where"].endswith("test.jsonl:4")
    assert worst["gold"] == []
    assert [found["text"] for found in worst["answer"]] == ["Zoé", "東京"]
    assert [(c["gold"], c["count"]) for c in entities["confusions"]] == [(None, 1), (None, 1)]


def test_evaluate_shows_weak_labels_and_what_they_are_taken_for(polyhead, trained, own_rows):
    code, out, _ = polyhead("evaluate", trained, own_rows, "--quiet")
    assert code == 0
    _, labels, confusions, *_ = out.split("\n\n")
    assert [line.split() for line in labels.splitlines()] == [
        ["labels", "of", "topic,", "the", "lowest", "F1", "first"],
        ["label", "precision", "recall", "F1", "support"],
        [*map("-".__mul__, (8, 9, 6, 6, 7))],
        ["delivery", "0.0000", "0.0000", "0.0000", "1"],
        ["praise", "1.0000", "0.5000", "0.6667", "2"],
        ["home", "0.5000", "1.0000", "0.6667", "1"],
    ]
    assert [line.split() for line in confusions.splitlines()[3:]] == [
        ["delivery", "home", "1"],
        ["praise", "delivery", "1"],
    ]


def test_evaluate_slices_by_a_column(polyhead, trained, own_rows):
    code, out, err = polyhead("evaluate", trained, own_rows, "--by", "language", "--json")
    slices = json.loads(out)["slices"]["language"]
    assert code == 0
    assert {
        (language, head): (f["value"], f["texts"])
        for language, heads in slices.items()
        for head, f in heads.items()
    } == {
        ("en", "topic"): (0.5, 2),
        ("zh", "topic"): (0.0, 1),
        ("zh", "entities"): (0.0, 1),
    }
    assert "language: empty in 1 of 4 texts" in err
    _, out, _ = polyhead("evaluate", trained, own_rows, "--by", "language")
    table = out.partition("topic by language\n")[2].splitlines()[2:4]
    assert [line.split() for line in table] == [["zh", "0.0000", "1"], ["en", "0.5000", "2"]]


def test_evaluate_refuses_a_column_that_no_row_has(polyhead, trained, own_rows):
    code, out, err = polyhead("evaluate", trained, own_rows, "--by", "langauge")
    assert (code, out) == (1, "")
    assert "'langauge': no row of the 'test' split has such a column; there are 'text'," in err
    assert "language" in err.rpartition("there are")[2].rpartition(".")[0]


def test_evaluate_writes_errors_and_a_picture(polyhead, trained, own_rows, tmp_path):
    errors, picture = tmp_path / "new" / "errors.jsonl", tmp_path / "labels.png"
    code, _, err = polyhead(
        *("evaluate", trained, own_rows, "--errors", errors, "--picture", picture)
    )
    assert code == 0
    heads = [json.loads(line)["head"] for line in errors.read_text(encoding="utf-8").splitlines()]
    assert heads == ["topic", "topic", "entities"]
    assert f"{errors}: 3 wrong answers" in err
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_evaluate_of_many_long_labels_fits_a_terminal(polyhead, write_config, write_rows, tmp_path):
    path = write_config(
        tmp_path, training={"epochs": 1}, heads={"topic": {"layers": None}, "entities": None}
    )
    rows = [
        {"text": f"parcel {n}", "topic": f"{n} a label with quite a few words in it"}
        for n in range(150)
    ]
    for split in ("train", "validation", "test"):
        write_rows(tmp_path / "data" / f"{split}.jsonl", rows)
    assert polyhead("train", path, "-o", tmp_path / "checkpoint")[0] == 0
    code, out, _ = polyhead("evaluate", tmp_path / "checkpoint", path)
    lines = out.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 80
    assert len(lines) < 40
    assert "labels of topic, the lowest F1 first (10 of 150)" in lines
    _, out, _ = polyhead("evaluate", tmp_path / "checkpoint", path, "--json")
    assert len(json.loads(out)["heads"]["topic"]["labels"]) == 150


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
        pytest.param(["evaluate", "{model}", "{config}", "--errors", "x.txt"], 2, id="errors"),
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
