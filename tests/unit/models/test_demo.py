import shutil

import pytest

from polyhead.cli.main import main
from polyhead_models import config
from polyhead_models.data import examples, statistics
from polyhead_models.demo import CONFIG, FILES, SOURCE, Demo, DemoError


@pytest.fixture(scope="module")
def splits():
    made = config.load(SOURCE / CONFIG)
    return {split: examples.load(made, split) for split in ("train", "validation", "test")}


def test_a_checkout_has_the_demos_data(splits):
    sizes = {split: len(found) for split, found in splits.items()}
    assert sizes == {"train": 2400, "validation": 400, "test": 400}


@pytest.mark.parametrize("head", ["topic", "sentiment", "entities"])
def test_no_text_is_in_two_splits(splits, head):
    texts = {split: statistics.of_head(found, head) for split, found in splits.items()}
    assert statistics.leaks(texts) == []


def test_names_in_the_test_split_are_in_no_other(splits):
    def names(*wanted):
        return {
            (label, example.text[start:end].casefold())
            for split in wanted
            for example in splits[split]
            for label, start, end in example.references["entities"]
            if label in ("PERSON", "PRODUCT")
        }

    assert names("test").isdisjoint(names("train", "validation"))


@pytest.mark.parametrize("missing", FILES)
def test_without_data_the_demo_says_where_it_is(tmp_path, missing):
    source = tmp_path / "source"
    shutil.copytree(SOURCE, source)
    (source / missing).unlink()
    with pytest.raises(
        DemoError, match=rf"{missing}: no such file; .*examples/support-desk.*--data"
    ):
        Demo(tmp_path / "demo", source).run()
    assert not (tmp_path / "demo").exists()


def test_the_command_takes_a_folder_with_the_data(tmp_path, capfd):
    assert main(["demo", "-o", str(tmp_path / "demo"), "--data", str(tmp_path)]) == 1
    assert f"{tmp_path / CONFIG}: no such file" in capfd.readouterr().err
