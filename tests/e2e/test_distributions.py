"""The four distributions together: commands are found one at a time, kinds are the same in all."""

import subprocess
import sys
import tomllib
from pathlib import Path

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

HELP = """
import sys
from polyhead.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
heavy = {"torch", "transformers", "onnx", "onnx_ir", "sklearn", "datasets", "pyarrow"}
heavy &= set(sys.modules)
sys.exit(f"loaded {sorted(heavy)}" if heavy else code)
"""


def polyhead(*words, path=()):
    environment = {"PYTHONPATH": ":".join([*map(str, path), *filter(None, sys.path)])}
    return subprocess.run(
        [sys.executable, "-c", HELP, *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_and_never_loads_torch(command):
    done = polyhead(command, "--help")
    assert done.returncode == 0, done.stderr
    _, _, examples = done.stdout.replace("Examples:", "Example:").partition("Example:")
    assert f"polyhead {command} " in examples


def test_the_overview_lists_every_command_and_loads_none():
    done = polyhead("--help")
    assert done.returncode == 0, done.stderr
    assert set(COMMANDS) <= set(done.stdout.split())


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
