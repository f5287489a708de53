"""The data of examples/support-desk, which `make demo` trains on."""

from pathlib import Path

import pytest

from polyhead_models import config
from polyhead_models.data import examples, statistics

SOURCE = Path(__file__).parents[2] / "examples" / "support-desk"


@pytest.fixture(scope="module")
def splits():
    made = config.load(SOURCE / "demo.toml")
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
