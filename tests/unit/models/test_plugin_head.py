"""A head kind of another distribution (tests/data/polyhead-ordinal), from TOML to bundle."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import polyhead
from polyhead.errors import PluginError, UnknownKind
from polyhead.verify.golden import verify
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_models import checkpoint as checkpoints
from polyhead_models import config as configs
from polyhead_models.data import examples
from polyhead_models.errors import ConfigError
from polyhead_models.evaluation import evaluate
from polyhead_models.training import train

SOURCE = Path(__file__).parents[2] / "data" / "polyhead-ordinal"
STARS = {"delivery": 1, "home": 3, "praise": 10}  # as texts, 10 would stand before 3
HEADS = {
    "stars": {"kind": "ordinal", "data": "messages", "target": "stars"},
    "topic": {"kind": "classification", "data": "messages", "target": "topic"},
    "entities": None,
    "embedding": None,
}


def install(folder, entry_points, name="polyhead-ordinal"):
    """What an installer leaves: the metadata of a distribution, its code beside it."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, points in entry_points.items():
        lines += [f"[{group}]", *(f"{kind} = {value}" for kind, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def ordinal(tmp_path_factory):
    """A folder with the ordinal distribution, on sys.path while this file's tests run."""
    declared = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]["entry-points"]
    folder = install(tmp_path_factory.mktemp("site"), declared)
    (folder / "polyhead_ordinal").symlink_to(SOURCE / "polyhead_ordinal")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture(scope="module")
def config(ordinal, write_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ordinal")
    training = {"epochs": 60, "learning_rate": 6e-3}
    data = {"messages": {"validation": "data/train.jsonl"}}
    path = write_config(folder, heads=HEADS, training=training, data=data)
    for file in (folder / "data").glob("*.jsonl"):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        lines = [json.dumps({**row, "stars": STARS[row["topic"]]}) for row in rows]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return configs.load(path)


@pytest.fixture(scope="module")
def checkpoint(config, tmp_path_factory):
    return train(config, tmp_path_factory.mktemp("run") / "checkpoint").path


@pytest.fixture(scope="module")
def bundle(checkpoint, tmp_path_factory):
    target = tmp_path_factory.mktemp("exported") / "bundle"
    export(checkpoint, target, ExportSettings(precision="fp32"))
    return target


@pytest.fixture(scope="module")
def messages(config):
    return examples.load(config, "test")


def test_it_learns_its_rows_and_is_evaluated_by_its_own_metric(checkpoint, config):
    rows = examples.load(config, "train")
    found = evaluate(checkpoints.load(checkpoint).engine(), rows)["stars"]
    assert found.metric == "accuracy"
    assert set(found.figures) == {"accuracy", "mae"}
    assert found.value > 0.9


def test_its_labels_are_in_their_own_order(bundle):
    with polyhead.load(bundle) as engine:
        assert engine.heads["stars"].labels == ("1", "3", "10")


def test_the_bundle_answers_like_the_trained_model(bundle, checkpoint, messages):
    texts = [example.text for example in messages]
    trained = checkpoints.load(checkpoint).engine()
    with polyhead.load(bundle) as engine:
        found, expected = engine.predict(texts), trained.predict(texts)
    for one, other in zip(found, expected, strict=True):
        assert one["stars"].label == other["stars"].label
        assert one["stars"].scores == pytest.approx(other["stars"].scores, abs=1e-4)
        assert sum(one["stars"].scores.values()) == pytest.approx(1)
    assert {p["stars"].label for p in found} == {"1", "3", "10"}


def test_the_bundle_reproduces_its_golden_answers(bundle):
    found = verify(bundle)
    assert found.passed
    assert [check.head for check in found.heads] == ["topic", "stars"]


def test_a_process_without_torch_serves_it(bundle, ordinal, command):
    words, environment = command
    environment = {**environment, "PYTHONPATH": f"{ordinal}:{environment['PYTHONPATH']}"}
    script = (
        "import sys, polyhead; p = polyhead.load(sys.argv[1])('thanks, Bo!');"
        "print(p['stars'].label, 'torch' in sys.modules, 'polyhead_ordinal' in sys.modules)"
    )
    call = [words[0], "-c", script, bundle]
    done = subprocess.run(call, capture_output=True, text=True, env=environment, check=True)
    label, torch, plugin = done.stdout.split()
    assert label in ("1", "3", "10")
    assert (torch, plugin) == ("False", "True")


def test_a_bundle_whose_plugin_is_not_installed_says_which_group_is_missing(bundle, command):
    words, environment = command
    call = [*words, "run", bundle, "thanks"]
    done = subprocess.run(call, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "head 'stars': no decoder of the kind 'ordinal.v1'" in done.stderr
    assert "'polyhead.heads'" in done.stderr


def test_an_unknown_kind_in_a_configuration_hints_at_plugins(ordinal, write_config, tmp_path):
    path = write_config(tmp_path, heads={**HEADS, "stars": {**HEADS["stars"], "kind": "ordinall"}})
    with pytest.raises(ConfigError, match=r"unknown kind 'ordinall'; .*Did you mean 'ordinal'\?"):
        configs.load(path)


def test_a_kind_without_metric_is_refused_before_training(write_config, tmp_path, monkeypatch):
    points = {
        "polyhead.heads": {"half.v1": "polyhead.heads.classification:ClassificationDecoder"},
        "polyhead_models.heads": {"half.v1": "polyhead_models.heads:ClassificationNetwork"},
    }
    monkeypatch.syspath_prepend(install(tmp_path, points, name="half-a-head"))
    made = configs.load(write_config(tmp_path, heads={"topic": {"kind": "half"}}))
    with pytest.raises(UnknownKind, match=r"^no metric of the kind 'half.v1'; known: "):
        train(made, tmp_path / "checkpoint")


def test_a_plugin_with_a_built_in_name_is_refused(write_config, tmp_path, monkeypatch):
    points = {"polyhead_models.heads": {"classification.v1": "no_such_module:Network"}}
    monkeypatch.syspath_prepend(install(tmp_path, points, name="greedy-plugin"))
    with pytest.raises(PluginError, match=r"built-in kind, and greedy-plugin brings a network"):
        configs.load(write_config(tmp_path))


def test_cumulative_logits_that_cross_still_give_probabilities(ordinal):
    from polyhead_ordinal.decoder import OrdinalDecoder

    spec = polyhead.HeadSpec(
        kind="ordinal.v1", output="logits/stars", labels=("1", "2", "3"), max_tokens=8
    )
    found = OrdinalDecoder(spec).decode(np.array([-2.0, 3.0], np.float32), None)
    assert found.label == "1"
    assert min(found.scores.values()) >= 0
    assert sum(found.scores.values()) == pytest.approx(1)
    assert "polyhead_ordinal" in sys.modules
