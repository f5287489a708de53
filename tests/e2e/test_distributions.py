"""The four distributions together: commands are found one at a time, kinds are the same in all."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import aarch64
import pytest

from polyhead.cli.main import BUILT_IN
from polyhead.heads import DECODERS
from polyhead_models.heads import NETWORKS
from polyhead_models.metrics import METRICS

ROOT = Path(__file__).parents[2]


def declared(member):
    """Commands that a distribution brings."""
    project = tomllib.loads((ROOT / member / "pyproject.toml").read_text())["project"]
    return project["entry-points"]["polyhead.commands"]


COMMANDS = sorted(
    [*BUILT_IN, *(n for m in ("models", "export", "benchmarks") for n in declared(m))]
)

WITH_VERBS = ["bench run", "bench compare", "bench check", "bench publish", "bench setup"]
HELP = """
import contextlib, io, json, sys
from polyhead.cli.main import main
shown = {}
for words in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            code = main([*words.split(), "--help"])
        except SystemExit as end:
            code = end.code
    heavy = {"torch", "transformers", "onnx", "onnx_ir", "sklearn", "datasets", "pyarrow"}
    shown[words] = [code, sorted(heavy & set(sys.modules)), out.getvalue()]
json.dump(shown, sys.stdout)
"""


def polyhead(*words, path=(), start=("-m", "polyhead")):
    environment = {"PYTHONPATH": ":".join([*map(str, path), *filter(None, sys.path)])}
    call = [sys.executable, *start, *words]
    return subprocess.run(call, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def shown():
    """What `polyhead COMMAND --help` gives in one process: code, heavy modules so far, text."""
    done = polyhead("", *COMMANDS, *WITH_VERBS, start=("-c", HELP))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("words", [*COMMANDS, *WITH_VERBS])
def test_help_shows_an_example_and_never_loads_torch(shown, words):
    code, heavy, text = shown[words]
    assert (code, heavy) == (0, [])
    _, _, examples = text.replace("Examples:", "Example:").partition("Example:")
    assert f"polyhead {words} " in (examples if words in COMMANDS else text)


def test_the_overview_lists_every_command_and_loads_none(shown):
    code, heavy, text = shown[""]
    assert (code, heavy) == (0, [])
    assert set(COMMANDS) <= set(text.split())


@pytest.fixture
def broken_plugin(tmp_path):
    """A distribution whose command cannot be imported."""
    info = tmp_path / "broken_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[polyhead.commands]\nshatter = no_such_module\n")
    return tmp_path


def test_a_broken_plugin_is_named_by_its_distribution(broken_plugin):
    done = polyhead("shatter", path=[broken_plugin])
    assert done.returncode == 1
    assert "broken-plugin" in done.stderr
    assert "no_such_module" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_other_commands_go_on_next_to_a_broken_plugin(broken_plugin):
    assert polyhead("verify", "--help", path=[broken_plugin]).returncode == 0
    assert "shatter" in polyhead("--help", path=[broken_plugin]).stdout


def test_the_three_registries_have_the_same_built_in_kinds():
    assert list(DECODERS) == list(NETWORKS) == list(METRICS)
    groups = [registry.group for registry in (DECODERS, NETWORKS, METRICS)]
    assert groups == ["polyhead.heads", "polyhead_models.heads", "polyhead_models.metrics"]


@pytest.mark.skipif(
    not os.environ.get("POLYHEAD_INDEX"), reason="POLYHEAD_INDEX=1 asks pip's package index"
)
@pytest.mark.parametrize("python", ["3.11", "3.14"])
def test_the_runtime_has_wheels_for_arm(tmp_path, python):
    project = tomllib.loads((ROOT / "runtime" / "pyproject.toml").read_text())["project"]
    options = ["--quiet", "--dry-run", "--no-deps", "--target", str(tmp_path), "--report", "-"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", *options),
            *aarch64.wheels_for(python),
            *project["dependencies"],
        ],
        capture_output=True,
        check=True,
    )
    found = [package["metadata"]["name"] for package in json.loads(done.stdout)["install"]]
    assert sorted(found) == ["numpy", "onnxruntime", "tokenizers"]
