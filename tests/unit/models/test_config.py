import math

import pytest

from polyhead_models import config
from polyhead_models.config import HeadConfig, TrainingConfig
from polyhead_models.errors import ConfigError
from polyhead_models.training import train


@pytest.fixture
def refused(write_config, tmp_path):
    """The message with which a changed configuration is refused."""

    def message(**changes):
        with pytest.raises(ConfigError) as caught:
            config.load(write_config(tmp_path, **changes))
        return str(caught.value)

    return message


def test_a_file_says_what_is_trained(write_config, tmp_path):
    found = config.load(write_config(tmp_path))
    assert found.heads["topic"] == HeadConfig(
        kind="classification", data="messages", target="topic"
    )
    assert found.encoder.max_tokens == 48
    assert found.training == TrainingConfig(
        epochs=2, batch_tokens=128, learning_rate=3e-3, precision="fp32", seed=1
    )


def test_a_kind_without_a_version_is_version_1():
    versions = {
        HeadConfig(kind=kind, data="a", target="b").versioned_kind
        for kind in ("tokens", "tokens.v1")
    }
    assert versions == {"tokens.v1"}


@pytest.mark.parametrize(
    ("changes", "place", "nearest"),
    [
        pytest.param({"trainig": {"epochs": 1}}, "'trainig'", "training", id="section"),
        pytest.param({"training": {"epoch": 1}}, "training: unknown key", "epochs", id="key"),
        pytest.param({"encoder": {"maxtokens": 9}}, "encoder", "max_tokens", id="encoder_key"),
        pytest.param(
            {"heads": {"topic": {"poling": "cls"}}}, "heads.topic", "pooling", id="head_key"
        ),
        pytest.param(
            {"heads": {"topic": {"kind": "clasification"}}},
            "heads.topic",
            "classification",
            id="kind",
        ),
        pytest.param(
            {"heads": {"topic": {"kind": "tokens.v2"}}}, "heads.topic", "tokens", id="kind_version"
        ),
        pytest.param(
            {"heads": {"topic": {"data": "mesages"}}}, "heads.topic: data", "messages", id="source"
        ),
        pytest.param(
            {"training": {"sampling": "uniforn"}}, "training: sampling", "uniform", id="sampling"
        ),
        pytest.param(
            {"heads": {"topic": {"pooling": "man"}}}, "heads.topic: pooling", "mean", id="pooling"
        ),
        pytest.param(
            {"data": {"messages": {"trian": "x.jsonl"}}}, "data.messages", "train", id="split"
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(refused, tmp_path, changes, place, nearest):
    message = refused(**changes)
    assert message.startswith(f"{tmp_path / 'config.toml'}: ")
    assert place in message
    assert f"Did you mean '{nearest}'?" in message


def test_an_unknown_layer_choice_names_the_allowed_ones(refused):
    message = refused(heads={"topic": {"layers": "mixed"}})
    assert "heads.topic: layers" in message
    assert "'last', 'mix'" in message


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        pytest.param({"encoder": None}, "the key 'encoder' is missing", id="encoder"),
        pytest.param({"encoder": {"name": None}}, "encoder: the key 'name'", id="encoder_name"),
        pytest.param({"heads": None}, "the key 'heads' is missing", id="heads"),
        pytest.param(
            {"heads": {"topic": {"kind": None}}}, "heads.topic: the key 'kind'", id="kind"
        ),
        pytest.param(
            {"data": {"messages": {"train": None}}}, "data.messages: the key 'train'", id="train"
        ),
        pytest.param({"heads": {"topic": {"target": None}}}, "'data' and 'target'", id="target"),
        pytest.param({"heads": {"topic": {"data": None}}}, "'data' and 'target'", id="source"),
    ],
)
def test_a_missing_key_is_named(refused, changes, part):
    assert part in refused(**changes)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        pytest.param(
            {"training": {"epochs": "3"}}, "epochs: found '3', expected a whole", id="text"
        ),
        pytest.param(
            {"training": {"epochs": 2.0}}, "epochs: found 2.0, expected a whole", id="float"
        ),
        pytest.param({"training": {"seed": True}}, "seed: found True, expected a whole", id="bool"),
        pytest.param({"encoder": {"name": 3}}, "name: found 3, expected a text", id="name"),
        pytest.param({"encoder": "tiny"}, "encoder: found 'tiny', expected a table", id="section"),
        pytest.param({"heads": {"topic": "tokens"}}, "heads.topic: found 'tokens'", id="head"),
        pytest.param(
            {"heads": {"topic": {"hidden": 16}}}, "hidden: found 16, expected a list", id="int"
        ),
        pytest.param(
            {"heads": {"topic": {"hidden": ["a"]}}}, "hidden[0]: found 'a'", id="list_item"
        ),
        pytest.param(
            {"heads": {"topic": {"layers": True}}}, "layers: found True", id="layers_bool"
        ),
    ],
)
def test_a_value_of_another_type_is_refused(refused, changes, part):
    assert part in refused(**changes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_tokens", 0),
        ("seed", -1),
        ("learning_rate", 0.0),
        ("learning_rate", -1e-4),
        ("temperature", 0.0),
        ("warmup", 1.0),
        ("warmup", -0.1),
        ("weight_decay", -0.1),
    ],
)
def test_a_training_value_out_of_its_range_is_refused(refused, name, value):
    assert f"training: {name}: found {value}, expected " in refused(training={name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("dropout", 1.0), ("dropout", -0.1), ("loss_weight", -1.0), ("hidden", [16, 0])],
)
def test_a_head_value_out_of_its_range_is_refused(refused, name, value):
    message = refused(heads={"topic": {name: value}})
    assert f"heads.topic: {name}: found {value}, expected " in message


def test_fewer_tokens_than_one_between_two_special_ones_are_refused(refused):
    assert "max_tokens: found 2, expected at least 3" in refused(encoder={"max_tokens": 2})


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_a_learning_rate_must_be_finite(write_config, tmp_path, value):
    path = write_config(tmp_path)
    text = path.read_text().replace("0.003", str(value))
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"learning_rate: .* expected a finite number"):
        config.load(path)


@pytest.mark.parametrize("name", ["a/b", "a.b", "", "a b", "töpic"])
def test_a_head_name_is_letters_digits_and_dashes(refused, name):
    head = {"kind": "classification", "data": "messages", "target": "topic"}
    assert f"heads: {name!r}: a name has letters" in refused(heads={name: head})


def test_a_head_that_is_not_trained_takes_no_target(refused):
    message = refused(heads={"embedding": {"target": "topic"}})
    assert "heads.embedding: target: needs the key 'data', too" in message


def test_a_head_that_answers_per_token_takes_no_pooling(refused):
    assert "pooling: a head of kind 'tokens'" in refused(heads={"entities": {"pooling": "cls"}})


def test_something_must_be_trained(refused):
    assert "nothing can be trained" in refused(heads={"topic": None, "entities": None})


@pytest.mark.parametrize("layers", [3, -4])
def test_a_layer_that_the_encoder_lacks_is_refused_at_training(write_config, tmp_path, layers):
    made = config.load(write_config(tmp_path, heads={"topic": {"layers": layers}}))
    with pytest.raises(ConfigError, match=rf"layers: found {layers}; .* 0 \(embeddings\) to 2"):
        train(made, tmp_path / "checkpoint")


def test_more_tokens_than_the_encoder_has_positions_are_refused_at_training(write_config, tmp_path):
    made = config.load(write_config(tmp_path, encoder={"max_tokens": 65}))
    with pytest.raises(ConfigError, match=r"max_tokens: found 65; .* reads at most 64"):
        train(made, tmp_path / "checkpoint")
