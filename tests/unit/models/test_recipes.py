"""The recipes are valid, listed, and fit their data where POLYHEAD_DATA names a folder with it."""

import os
import re
from pathlib import Path

import pytest

from polyhead.heads import HeadSpec
from polyhead_models import config
from polyhead_models.data import examples, sources
from polyhead_models.heads import NETWORKS

FOLDER = Path(__file__).parents[3] / "models" / "recipes"
RECIPES = sorted(FOLDER.glob("*.toml"))
README = (FOLDER / "README.md").read_text(encoding="utf-8")

recipes = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
with_data = pytest.mark.skipif("POLYHEAD_DATA" not in os.environ, reason="no POLYHEAD_DATA")


@recipes
def test_a_recipe_is_a_configuration(path, tmp_path, monkeypatch):
    monkeypatch.setenv("POLYHEAD_DATA", str(tmp_path))
    made = config.load(path)
    assert all(source.test or source.test_share for source in made.data.values())
    assert all(source.validation or source.validation_share for source in made.data.values())


def test_the_readme_lists_every_recipe():
    assert set(re.findall(r"^\| `([\w-]+)`", README, re.MULTILINE)) == {p.stem for p in RECIPES}


@with_data
@recipes
def test_the_readme_tells_the_rows(path):
    (row,) = re.findall(rf"^\| `{path.stem}` .*", README, re.MULTILINE)
    told_of = re.findall(r"([\d,]+) / ([\d,]+) / ([\d,]+)", row)
    read = config.load(path).data.values()
    told_of = told_of * len(read) if len(told_of) == 1 else told_of  # "… each"
    for told, source in zip(told_of, read, strict=True):
        found = [len(sources.load(source, split)) for split in config.SPLITS]
        assert [int(number.replace(",", "")) for number in told] == found


@with_data
@recipes
def test_training_has_every_label(path):
    made = config.load(path)
    learnt = examples.references(made, examples.load(made, "train"))
    labels = {}
    for name, head in made.heads.items():
        network = NETWORKS[head.versioned_kind]
        spec = HeadSpec(kind=network.kind, output=name, activation=network.activation, max_tokens=9)
        labels[name] = network.fitted(spec, learnt[name]).labels
    for split in ("validation", "test"):
        examples.seen(made, examples.load(made, split), labels)
