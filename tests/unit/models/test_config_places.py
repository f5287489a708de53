from pathlib import Path

import pytest

from polyhead_models import config
from polyhead_models.config import EncoderConfig
from polyhead_models.errors import ConfigError


@pytest.fixture
def refused(write_config, tmp_path):
    """The message with which a changed configuration is refused."""

    def message(**changes):
        with pytest.raises(ConfigError) as caught:
            config.load(write_config(tmp_path, **changes))
        return str(caught.value)

    return message


def test_an_environment_variable_is_filled_in(write_config, tmp_path, monkeypatch):
    monkeypatch.setenv("CORPUS", str(tmp_path / "data"))
    changes = {"train": "${CORPUS}/train.jsonl"}
    found = config.load(write_config(tmp_path, data={"messages": changes}))
    assert found.data["messages"].train == str(tmp_path / "data" / "train.jsonl")


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        pytest.param({"encoder": {"name": "${NOT_SET}/m"}}, "encoder: name", id="encoder"),
        pytest.param(
            {"data": {"messages": {"test": "${NOT_SET}/t.csv"}}}, "data.messages: test", id="data"
        ),
    ],
)
def test_an_environment_variable_that_is_not_set_is_named(refused, monkeypatch, changes, place):
    monkeypatch.delenv("NOT_SET", raising=False)
    assert f"{place}: the environment variable NOT_SET is not set" in refused(**changes)


def test_paths_are_relative_to_the_file(write_config, encoder_folder, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "model").symlink_to(encoder_folder)
    write_config(tmp_path / "here", encoder={"name": "../model"})
    monkeypatch.chdir(tmp_path)
    found = config.load(Path("here/config.toml"))
    assert found.data["messages"].path("test") == str(tmp_path / "here" / "data" / "test.jsonl")
    assert found.encoder == EncoderConfig(name=str(encoder_folder.resolve()), max_tokens=48)


def test_a_name_that_is_no_folder_stays_a_hub_id(write_config, tmp_path):
    found = config.load(write_config(tmp_path, encoder={"name": "some/model"}))
    assert found.encoder.name == "some/model"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        pytest.param(b"[encoder\nname = 'x'\n", ": not valid TOML", id="bracket"),
        pytest.param(b"[training]\nepochs = 1\nepochs = 2\n", ": not valid TOML", id="key_twice"),
        pytest.param("[encoder]\nname = 'né'".encode("latin-1"), ":2: not UTF-8", id="latin_1"),
    ],
)
def test_what_is_no_toml_is_refused(tmp_path, content, part):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"broken\.toml{part}"):
        config.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.toml: no such file"):
        config.load(tmp_path / "absent.toml")
