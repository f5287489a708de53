import json
from dataclasses import replace

import numpy as np
import pytest
import transformers

from polyhead.cli.main import main
from polyhead.errors import UnknownHead
from polyhead.inference.session import OnnxSession
from polyhead_export import optimum_folder
from polyhead_export.errors import ExportError
from polyhead_models import checkpoint as checkpoints
from polyhead_models.config import HeadConfig

TEXTS = ["The parcel to Oslo was 3 days late.", "Thanks!"]
FILES = [
    "config.json",
    "model.onnx",
    "tokenizer.json",
    "tokenizer_config.json",
]


@pytest.fixture(scope="module")
def topic(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("optimum") / "topic"
    optimum_folder.write(checkpoint, folder, ["topic"])
    return folder


def config(folder):
    return json.loads((folder / "config.json").read_text())


def test_the_folder_has_what_the_loader_expects(topic):
    assert sorted(path.name for path in topic.iterdir()) == FILES
    session = OnnxSession(topic / "model.onnx")
    assert session.inputs == ("input_ids", "attention_mask")
    assert session.outputs == ("logits",)


def test_the_configuration_names_labels_and_problem(topic):
    found = config(topic)
    assert found["architectures"] == ["BertForSequenceClassification"]
    assert found["problem_type"] == "single_label_classification"
    assert found["id2label"] == {"0": "billing", "1": "delivery", "2": "praise"}
    assert found["label2id"] == {"billing": 0, "delivery": 1, "praise": 2}
    assert transformers.AutoConfig.from_pretrained(topic).num_labels == 3


def test_a_padded_batch_of_its_tokenizer_gets_the_trained_models_logits(topic, checkpoint):
    tokenizer = transformers.AutoTokenizer.from_pretrained(topic)
    batch = dict(tokenizer(TEXTS, padding=True, return_tensors="np"))
    session = OnnxSession(topic / "model.onnx")
    (found,) = session.run(["logits"], {name: batch[name] for name in session.inputs})
    expected = checkpoints.load(checkpoint).engine().logits(TEXTS)["topic"]
    np.testing.assert_allclose(found, np.stack(expected), rtol=0, atol=1e-4)


def test_the_tokenizer_cuts_where_the_encoder_ends(topic):
    tokenizer = transformers.AutoTokenizer.from_pretrained(topic)
    assert tokenizer.model_max_length == 40
    assert tokenizer.pad_token == "[PAD]"


def test_tags_of_a_head_per_token_are_bio(checkpoint, tmp_path, capfd):
    words = ["export", str(checkpoint), "-o", str(tmp_path / "f"), "--format", "optimum"]
    assert main([*words, "--heads", "entities"]) == 0
    found = config(tmp_path / "f")
    assert found["architectures"] == ["BertForTokenClassification"]
    assert found["id2label"] == {"0": "O", "1": "B-PLACE", "2": "I-PLACE"}
    assert "ORTModelForTokenClassification" in capfd.readouterr().err


@pytest.fixture
def numbers(checkpoint, tmp_path):
    """A checkpoint with a number and a set of labels, untrained."""
    known = checkpoints.load(checkpoint)
    heads = {
        "days": HeadConfig(kind="regression", data="mail", target="days"),
        "tags": HeadConfig(kind="multilabel", data="mail", target="tags"),
    }
    topic = replace(known.model.specs["topic"], activation="identity")
    specs = {
        "days": replace(
            topic, kind="regression.v1", output="logits/days", labels=(), scale=(1000.0, 8.0)
        ),
        "tags": replace(
            topic,
            kind="multilabel.v1",
            output="logits/tags",
            activation="sigmoid",
            thresholds=(0.5, 0.25, 0.75),
        ),
    }
    model = checkpoints.assemble(known.model.encoder, specs, heads).eval()
    config = replace(known.description.config, heads=heads)
    description = replace(known.description, heads=specs, config=config)
    folder = tmp_path / "numbers"
    folder.mkdir()
    checkpoints.save(folder, replace(known, model=model, description=description), {})
    return folder


def test_a_number_comes_in_its_own_unit(numbers, tmp_path):
    optimum_folder.write(numbers, tmp_path / "f", ["days"])
    ids = np.arange(5, 12).reshape(1, 7)
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    (found,) = OnnxSession(tmp_path / "f" / "model.onnx").run(["logits"], feeds)
    logit = (
        checkpoints.load(numbers)
        .engine()
        ._model.parts[0]
        .backend.run(["logits/days"], {"input_ids": ids})[0]
    )
    np.testing.assert_allclose(found, 1000 + 8 * logit, rtol=0, atol=1e-3)
    assert config(tmp_path / "f")["problem_type"] == "regression"
    assert config(tmp_path / "f")["id2label"] == {"0": "days"}


def test_thresholds_of_labels_are_written_down(numbers, tmp_path):
    optimum_folder.write(numbers, tmp_path / "f", ["tags"])
    found = config(tmp_path / "f")
    assert found["problem_type"] == "multi_label_classification"
    assert found["polyhead"]["thresholds"] == {"billing": 0.5, "delivery": 0.25, "praise": 0.75}


@pytest.mark.parametrize(
    ("heads", "error", "message"),
    [
        ([], ExportError, "room for one. Name it with --heads"),
        (["topic", "first"], ExportError, "found topic, first; the format has room for one"),
        (
            ["embedding"],
            ExportError,
            r"no form for the kind embedding\.v1; allowed: class",
        ),
        (["topics"], UnknownHead, "Did you mean 'topic'"),
    ],
    ids=["none_named", "two_named", "no_such_form", "unknown"],
)
def test_what_the_format_cannot_hold_is_refused(checkpoint, tmp_path, heads, error, message):
    with pytest.raises(error, match=message):
        optimum_folder.write(checkpoint, tmp_path / "f", heads)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_as_it_is(checkpoint, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="left as it is"):
        optimum_folder.write(checkpoint, tmp_path, ["topic"])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_older_folder_is_replaced(topic, checkpoint):
    optimum_folder.write(checkpoint, topic, ["topic"])
    assert sorted(path.name for path in topic.iterdir()) == FILES
