"""Built-in heads never look at what is installed; commands and heads fail alone."""

import subprocess
import sys

import pytest

from polyhead.heads import DECODERS

GROUPS = ("polyhead.heads", "polyhead_models.heads", "polyhead_models.metrics")

PREDICT = """
import importlib.metadata, sys

def trap(*words, **names):
    raise RuntimeError("entry points were listed")

importlib.metadata.entry_points = trap
import polyhead
with polyhead.load(sys.argv[1]) as engine:
    print(engine("Where is my lamp?")["topic"].label)
"""


@pytest.fixture
def claimed(tmp_path):
    """A distribution that claims a built-in name in every group, and cannot be imported."""
    info = tmp_path / "greedy_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greedy-plugin\nVersion: 1.0\n")
    lines = [f"[{group}]\nclassification.v1 = no_such_module:Face\n" for group in GROUPS]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return tmp_path


def test_serving_built_in_heads_lists_no_entry_points(bundle, claimed):
    environment = {"PYTHONPATH": ":".join([str(claimed), *filter(None, sys.path)])}
    command = [sys.executable, "-c", PREDICT, bundle]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "delivery\n"


def test_the_three_registries_have_the_same_built_in_kinds():
    networks = pytest.importorskip("polyhead_models.heads").NETWORKS
    metrics = pytest.importorskip("polyhead_models.metrics").METRICS
    assert list(DECODERS) == list(networks) == list(metrics)
    assert tuple(registry.group for registry in (DECODERS, networks, metrics)) == GROUPS
