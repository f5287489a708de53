"""The runtime needs numpy, onnxruntime and tokenizers, and nothing else."""

import json
import subprocess
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "sklearn", "polyhead_models")

PREDICT = """
import json, sys
import polyhead
with polyhead.load(sys.argv[1]) as engine:
    found = engine("Where is my lamp?")
json.dump({"found": found.to_dict(), "modules": sorted(sys.modules)}, sys.stdout)
"""


@pytest.fixture(scope="module")
def answered(clean_python, bundle):
    command = [clean_python, "-I", "-c", PREDICT, bundle]
    return json.loads(subprocess.check_output(command, text=True))


def test_the_clean_environment_has_nothing_else(clean_python):
    query = f"from importlib.util import find_spec; print([n for n in {HEAVY} if find_spec(n)])"
    assert subprocess.check_output([clean_python, "-I", "-c", query], text=True) == "[]\n"


def test_it_predicts_without_torch(answered):
    heads = answered["found"]["heads"]
    assert heads["topic"]["label"] == "delivery"
    assert heads["entities"]["spans"][0]["text"] == "lamp"


def test_it_imports_three_distributions_and_the_standard_library(clean_python, answered):
    query = "import sys, json; print(json.dumps(sorted(sys.stdlib_module_names)))"
    standard = json.loads(subprocess.check_output([clean_python, "-c", query], text=True))
    tops = {module.partition(".")[0] for module in answered["modules"]}
    allowed = {"polyhead", "numpy", "onnxruntime", "tokenizers", *standard}
    private = {name for name in tops if name.startswith("_")}  # Python's and numpy's own
    assert tops - allowed - private == set()


def test_the_command_line_works_there(clean_python, bundle):
    command = [clean_python, "-I", "-m", "polyhead", "run", bundle, "thanks for the radio"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["heads"]["sentiment"]["label"] == "positive"


def test_only_its_own_commands_are_listed_there(clean_python):
    command = [clean_python, "-I", "-m", "polyhead", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "run" in done.stdout
    assert "train" not in done.stdout


def test_a_users_program_runs_there(clean_python, bundle):
    script = Path(__file__).with_name("user_script.py")
    command = [clean_python, "-W", "error", script, bundle]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "was closed" in done.stdout
