"""Arrows between the distributions point to `polyhead` only."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import polyhead

ROOT = Path(__file__).parents[2]
MEMBERS = {
    "runtime": ("polyhead", {"polyhead", "numpy", "onnxruntime", "tokenizers"}),
    "models": ("polyhead_models", None),
    "export": ("polyhead_export", None),
    "benchmarks": ("polyhead_bench", None),
}
OF_EXTRAS = {"huggingface_hub", "msgspec", "prometheus_client", "pyarrow", "starlette", "uvicorn"}
UNSEEN = {"httptools"}
"""What another of them uses, where it is installed."""
OF_THE_CALLER = {"fsspec", "opentelemetry", "pandas"}
"""What a function makes for those who have it."""
SIBLINGS = {
    "runtime": set(),
    "models": {"polyhead"},
    "export": {"polyhead", "polyhead_models"},
    # The PyTorch engine is a peer like others: imported in its own process, when it is there. So is
    # the exporter, which makes the padded graph that a bundle is held against.
    "benchmarks": {"polyhead", "polyhead_models", "polyhead_export"},
}


def imports(folder):
    """Top-level names of all modules that the sources of a folder import."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add((node.module or "").partition(".")[0])
    return found


def extras(member):
    """Distributions that a member's optional parts need."""
    parts = project(member).get("optional-dependencies", {}).values()
    return {re.split("[>=<]", text)[0] for part in parts for text in part}


def project(member):
    return tomllib.loads((ROOT / member / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("member", MEMBERS)
def test_siblings_that_are_imported(member):
    package, _ = MEMBERS[member]
    found = {name for name in imports(ROOT / member / "src") if name.startswith("polyhead")}
    assert found - {package} <= SIBLINGS[member]


def test_the_runtime_imports_its_three_dependencies_only():
    found = imports(ROOT / "runtime" / "src") - set(sys.stdlib_module_names)
    assert found - OF_EXTRAS - OF_THE_CALLER == MEMBERS["runtime"][1]
    assert extras("runtime") - UNSEEN == {name.replace("_", "-") for name in OF_EXTRAS}


def test_the_runtime_depends_on_three_distributions():
    names = {text.partition(">")[0] for text in project("runtime")["dependencies"]}
    assert names == {"numpy", "onnxruntime", "tokenizers"}


def test_the_lowest_versions_are_those_that_are_tested():
    """`make test-lowest` runs each floor of the runtime, on the oldest Python that it allows."""
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line.partition("#")[0]) for line in lines if not line.startswith("#")]
    oldest = {"python_version": project("runtime")["requires-python"].removeprefix(">=")}
    tested = {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(oldest)
    }
    parts = project("runtime")["optional-dependencies"].values()
    floors = [*project("runtime")["dependencies"], *(text for part in parts for text in part)]
    for name, _, lowest in (text.partition(">=") for text in floors):
        assert Version(tested[name]) == Version(lowest), name


@pytest.mark.parametrize("member", ["models", "export", "benchmarks"])
def test_a_shared_dependency_has_the_floor_of_the_runtime(member):
    floors = dict(text.split(">=") for text in project("runtime")["dependencies"])
    for name, _, lowest in (text.partition(">=") for text in project(member)["dependencies"]):
        assert lowest == floors.get(name, lowest), name


def test_one_version_for_all():
    root = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = {root["version"], polyhead.__version__, *(project(m)["version"] for m in MEMBERS)}
    assert len(versions) == 1


@pytest.mark.parametrize("member", ["models", "export", "benchmarks"])
def test_siblings_are_pinned_to_the_same_version(member):
    own = project(member)["version"]
    siblings = [d for d in project(member)["dependencies"] if d.startswith("polyhead")]
    assert siblings
    assert all(text.endswith(f"=={own}") for text in siblings)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_declares_what_it_imports(member):
    names = {"sklearn": "scikit-learn", "onnx_ir": "onnx-ir"}
    package, _ = MEMBERS[member]
    found = imports(ROOT / member / "src") - set(sys.stdlib_module_names) - {package}
    declared = {re.split("[>=<]", text)[0] for text in project(member)["dependencies"]}
    declared |= extras(member)
    # Peers run in environments of their own.
    peers = {"torch", "polyhead_models", "openvino", "optimum", "nncf", "transformers"}
    peers |= {"sentence_transformers", "polyhead_export", "ctranslate2"}
    optional = peers if member == "benchmarks" else OF_THE_CALLER if member == "runtime" else set()
    assert {names.get(n, n).replace("_", "-") for n in found - optional} <= declared
