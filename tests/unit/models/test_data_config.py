"""``[data.NAME]``: what may be said, and where places lead."""

import typing

import pytest

from polyhead_models import config
from polyhead_models.config import DataConfig
from polyhead_models.data.rows import FORMATS
from polyhead_models.errors import ConfigError


@pytest.fixture
def load(write_config, tmp_path):
    """The source of a configuration with changes."""

    def read(**changes):
        return config.load(write_config(tmp_path, data={"messages": changes})).data["messages"]

    return read


def test_every_format_can_be_named():
    hint = typing.get_type_hints(DataConfig)["format"]
    (names, _) = typing.get_args(hint)
    assert set(typing.get_args(names)) == set(FORMATS)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        pytest.param({"train": []}, "train: an empty list", id="no_files"),
        pytest.param({"columns": ["a", "_", "a"]}, "columns: 'a' is duplicated", id="twice"),
        pytest.param({"header": False}, "header: false leaves the columns", id="header"),
        pytest.param({"lists": {"tags": ""}}, "lists: found an empty separator", id="separator"),
        pytest.param({"limit": {"trian": 3}}, "Did you mean 'train'?", id="limit_split"),
        pytest.param({"limit": {"test": 0}}, "limit.test: found 0, expected at", id="limit"),
        pytest.param({"seed": -1}, "seed: found -1", id="seed"),
        pytest.param({"test_share": 0.1}, "the source has a 'test' of its own", id="both"),
        pytest.param({"test": None, "test_share": 1.0}, "expected 0 to below 1", id="all"),
        pytest.param({"test": None, "test_share": -0.1}, "expected 0 to below 1", id="negative"),
        pytest.param(
            {"validation": None, "test": None, "validation_share": 0.5, "test_share": 0.5},
            "leave no row to learn from",
            id="together",
        ),
        pytest.param({"format": "jsnl"}, "Did you mean 'jsonl'?", id="format"),
    ],
)
def test_what_a_source_may_not_say_is_refused(load, tmp_path, changes, part):
    with pytest.raises(ConfigError) as caught:
        load(**changes)
    assert str(caught.value).startswith(f"{tmp_path / 'config.toml'}: data.messages: ")
    assert part in str(caught.value)


def test_all_places_are_relative_to_the_file(load, tmp_path, monkeypatch):
    monkeypatch.setenv("CORPUS", "corpus")
    found = load(train=["a.csv", "${CORPUS}/b.csv"], test="c.json#key", names={"n": "names.txt"})
    assert found.train == (str(tmp_path / "a.csv"), str(tmp_path / "corpus" / "b.csv"))
    assert found.test == str(tmp_path / "c.json#key")
    assert found.names == {"n": str(tmp_path / "names.txt")}


def test_the_id_of_a_data_set_is_no_path(load):
    assert load(train="some/set:all/train", format="hub").train == "some/set:all/train"


def test_a_variable_that_is_not_set_is_named_with_its_column(load, monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigError, match=r"data\.messages: names\.n: .* NOT_SET is not set"):
        load(names={"n": "${NOT_SET}/names.txt"})


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"columns": ["a"]}, id="columns"),
        pytest.param({"header": True}, id="header"),
        pytest.param({"lists": {"topic": ","}}, id="lists"),
        pytest.param({"names": {"topic": "names.txt"}}, id="names"),
        pytest.param({"limit": {"train": 3}}, id="limit"),
        pytest.param({"seed": 1}, id="seed"),
        pytest.param({"test": None, "test_share": 0.1}, id="share"),
    ],
)
def test_the_fingerprint_changes_with_how_rows_are_read(write_config, tmp_path, changes):
    plain = config.load(write_config(tmp_path)).fingerprint
    made = config.load(write_config(tmp_path, data={"messages": changes}))
    assert made.fingerprint != plain


def test_the_fingerprint_does_not_depend_on_where_names_lie(write_config, tmp_path):
    found = {
        config.load(write_config(tmp_path, data={"messages": {"names": {"n": place}}})).fingerprint
        for place in ("a.txt", "b.txt")
    }
    assert len(found) == 1
