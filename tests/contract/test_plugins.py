"""Built-in heads never look at what is installed."""

import subprocess
import sys

import pytest

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
    """A distribution that claims a built-in name, and cannot be imported."""
    info = tmp_path / "greedy_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greedy-plugin\nVersion: 1.0\n")
    points = "[polyhead.heads]\nclassification.v1 = no_such_module:Decoder\n"
    (info / "entry_points.txt").write_text(points)
    return tmp_path


def test_serving_built_in_heads_lists_no_entry_points(bundle, claimed):
    environment = {"PYTHONPATH": ":".join([str(claimed), *filter(None, sys.path)])}
    command = [sys.executable, "-c", PREDICT, bundle]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "delivery\n"
