"""A digest changes with anything that training reads."""

import pytest

from polyhead.bundle.digest import sha256
from polyhead_models import checkpoint, config
from polyhead_models.config import DataConfig
from polyhead_models.data.sources import digest


@pytest.fixture
def folder(tmp_path):
    """Parallel files, a file of names and a json file with two equal lists."""
    for name, content in {
        "words": "a\nb\n",
        "label": "0\n1\n",
        "other": "x\n",
        "names.txt": "no\nyes\n",
        "both.json": '{"one": [{"a": 1}], "two": [{"a": 1}]}',
    }.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def parallel(folder, **changes):
    columns = ("words", "label")
    return DataConfig(train=str(folder), format="parallel", columns=columns, **changes)


def test_a_single_file_has_its_own_digest(folder):
    assert digest(DataConfig(train=f"{folder}/words"), "train") is None
    data = DataConfig(train=f"{folder}/words", format="csv")
    assert digest(data, "train") == sha256(folder / "words")


@pytest.mark.parametrize("name", ["words", "label", "names.txt"])
def test_every_file_that_is_read_counts(folder, name):
    data = parallel(folder, names={"label": f"{folder}/names.txt"})
    before = digest(data, "train")
    (folder / name).write_text("z\n")
    assert digest(data, "train") not in (before, None)


def test_a_file_that_is_not_read_does_not_count(folder):
    before = digest(parallel(folder), "train")
    (folder / "other").write_text("z\n")
    assert digest(parallel(folder), "train") == before


def test_a_key_counts(folder):
    found = {digest(DataConfig(train=f"{folder}/both.json#{key}"), "train") for key in "ab"}
    assert len(found) == 2


def test_the_place_of_the_files_does_not_count(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for name in ("words", "label"):
        (other / name).write_bytes((folder / name).read_bytes())
    assert digest(parallel(other), "train") == digest(parallel(folder), "train")


@pytest.mark.parametrize("name", ["words", "names.txt"])
def test_a_missing_file_leaves_no_digest(folder, name):
    (folder / name).unlink()
    assert digest(parallel(folder, names={"label": f"{folder}/names.txt"}), "train") is None


def test_a_share_of_the_training_rows_has_no_digest_of_its_own(folder):
    assert digest(parallel(folder, validation_share=0.5), "validation") is None


def test_a_data_set_that_is_not_here_has_no_digest(monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert digest(DataConfig(train="some/set", format="hub"), "train") is None


def test_the_digests_of_a_configuration_are_by_source_and_split(write_config, tmp_path):
    made = config.load(write_config(tmp_path))
    assert checkpoint.digests(made) == {
        f"messages.{split}": sha256(tmp_path / "data" / f"{split}.jsonl")
        for split in ("train", "validation")
    }
