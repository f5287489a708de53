"""`polyhead import` of several sources at once."""

import json

import numpy as np
import pytest
import torch
import transformers

import polyhead
from polyhead.bundle import is_bundle, read, read_parts
from polyhead.cli.main import main
from polyhead_export import optimum_folder
from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.2,
    "max_position_embeddings": 42,
}
TASKS = {
    "sequence": transformers.AutoModelForSequenceClassification,
    "tokens": transformers.AutoModelForTokenClassification,
    "answer": transformers.AutoModelForQuestionAnswering,
}
TEXTS = [f"the parcel of anna was {n} days late in oslo" for n in range(16)]
PAIRS = [("who was late?", text) for text in TEXTS]


@pytest.fixture
def source(wordpiece, wordpiece_json, tmp_path):
    """`source(task, encoder=6)`: a folder of transformers; one seed gives one encoder."""

    def make(task, encoder=6):
        torch.manual_seed(5)
        config = transformers.BertConfig(vocab_size=wordpiece.vocabulary_size, **SIZES)
        if task != "answer":
            config.id2label = {0: "O", 1: "B-A", 2: "I-A"}
            config.label2id = {label: i for i, label in config.id2label.items()}
        folder = tmp_path / f"{task}-{encoder}"
        with encoders.quiet():
            model = TASKS[task].from_config(config)
            torch.manual_seed(encoder)
            shared = transformers.AutoModel.from_config(config)
            model.base_model.load_state_dict(shared.state_dict(), strict=False)
            model.save_pretrained(folder)
        (folder / "tokenizer.json").write_text(wordpiece_json, encoding="utf-8")
        return folder

    return make


@pytest.fixture
def onnx_folder(checkpoint, tmp_path):
    """A folder for Optimum."""
    optimum_folder.write(checkpoint, tmp_path / "onnx", ["topic"])
    return tmp_path / "onnx"


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(f"{json.dumps(v)}\n" for v in [*TEXTS, *PAIRS]), encoding="utf-8")
    return path


@pytest.fixture
def run(tmp_path, capsys):
    """`run(*sources, *words)`: exit code, report and remarks; the result is `run.target`."""

    def call(*words):
        words = ("import", *words, "-o", call.target, "--json")
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, json.loads(out) if code == 0 else None, err

    call.target = tmp_path / "all"
    return call


def logits(path, texts, *words):
    """Of one source alone, imported as a checkpoint."""
    target = path.with_suffix(".alone")
    assert main(["import", str(path), "-o", str(target), *words]) == 0
    return next(iter(checkpoints.load(target).engine().logits(texts).values()))


def test_checkpoints_of_one_encoder_become_one_graph(run, source, texts):
    folders = [source(task) for task in TASKS]
    code, report, _ = run(*folders, "--texts", texts, "--precision", "fp32")
    assert code == 0
    assert report["encoder_passes"] == 1
    assert [row["head"] for row in report["heads"]] == ["classification", "tokens", "answer"]
    assert {row["graph"] for row in report["heads"]} == {"model.fp32.onnx"}
    assert [row["source"] for row in report["heads"]] == list(map(str, folders))
    assert report["bytes"] == sum(f.stat().st_size for f in run.target.iterdir())
    graph = read(run.target).manifest.graphs[0]
    assert 1.5 * graph.size < report["bytes_saved"] < 2.2 * graph.size
    assert report["ms_apart"] == sum(row["ms_alone"] for row in report["heads"]) > 0
    assert report["ms_together"] > 0
    with polyhead.load(run.target) as engine:
        found = {**engine.logits(TEXTS), "answer": engine.logits(PAIRS)["answer"]}
    for folder, (name, arrays) in zip(folders, found.items(), strict=True):
        expected = logits(folder, PAIRS if name == "answer" else TEXTS)
        for a, b in zip(arrays, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_without_texts_they_become_one_checkpoint(run, source):
    folders = [source("sequence"), source("tokens")]
    code, report, _ = run(*folders, "--head", "a", "--head", "b", "--prefix", "", "--prefix", "x-")
    assert code == 0
    assert list(checkpoints.describe(run.target).heads) == ["a", "x-b"]
    assert report["encoder_passes"] == 1
    assert [row["graph"] for row in report["heads"]] == [None, None]
    assert any("one encoder, one pass" in note for note in report["notes"])
    assert report["bytes_saved"] > 0.9 * report["bytes"]


def test_what_is_there_is_left_alone(run, source):
    run.target.mkdir()
    (run.target / "notes.txt").write_text("mine")
    code, _, err = run(source("sequence"), source("tokens"))
    assert code == 1
    assert "is not a bundle" in err
    assert [file.name for file in run.target.iterdir()] == ["notes.txt"]


def test_another_encoder_gets_a_graph_of_its_own(run, source, texts):
    folders = [source("sequence"), source("tokens", encoder=7), source("answer")]
    code, report, _ = run(*folders, "--texts", texts, "--precision", "fp32")
    assert code == 0
    assert report["encoder_passes"] == 2
    heads = [list(part.manifest.heads) for part in read_parts(run.target)]
    assert heads == [["classification", "answer"], ["tokens"]]
    (reason,) = [note for note in report["notes"] if "different weights (" in note]
    assert str(folders[0]) in reason
    assert str(folders[1]) in reason
    with polyhead.load(run.target) as engine:
        assert list(engine.heads) == ["classification", "answer", "tokens"]
        for a, b in zip(engine.logits(TEXTS)["tokens"], logits(folders[1], TEXTS), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_encoders_that_differ_need_texts(run, source):
    code, _, err = run(source("sequence"), source("tokens", encoder=7))
    assert code == 1
    assert "the models have 2 encoders" in err
    assert "--texts" in err
    assert not run.target.exists()


def test_a_graph_stands_beside_what_checkpoints_become(run, source, texts, onnx_folder):
    folders = [onnx_folder, source("sequence"), source("tokens")]
    names = ("--head", "foreign", "--head", "a", "--head", "b")
    code, _, err = run(*folders, *names)
    assert code == 2
    assert "--texts: expected a file" in err
    code, report, _ = run(*folders, *names, "--texts", texts, "--precision", "fp32")
    assert code == 0
    assert [row["head"] for row in report["heads"]] == ["foreign", "a", "b"]
    assert report["encoder_passes"] == 2
    assert is_bundle(run.target)
    with polyhead.load(run.target) as engine:
        assert list(engine("the parcel was late")) == ["foreign", "a", "b"]


def test_two_heads_of_one_name_are_told_by_their_sources(run, source):
    folders = [source("sequence"), source("sequence", encoder=7)]
    code, _, err = run(*folders)
    assert code == 1
    assert f"{folders[0]} and {folders[1]} both give a head 'classification'" in err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("a", "b", "--head", "x"), "--head: found 1 for 2 SOURCE"),
        (("a", "b", "--prefix", "x"), "--prefix: found 1 for 2 SOURCE"),
        (("a", "--texts", "x"), "--texts: for several SOURCE"),
        (("a", "--prefix", "x"), "--prefix: for several SOURCE"),
    ],
)
def test_a_wrong_call_is_told(run, words, part):
    code, _, err = run(*words)
    assert code == 2
    assert part in err


def test_without_polyhead_export_it_is_said(run, source, texts, monkeypatch):
    from polyhead.system import plugins

    real = plugins.points
    monkeypatch.setattr(
        "polyhead.system.plugins.points",
        lambda group: [point for point in real(group) if point.name != "export"],
    )
    code, _, err = run(source("sequence"), source("tokens"), "--texts", texts)
    assert code == 1
    assert "pip install polyhead-export" in err
