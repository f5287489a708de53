"""A clean Python: a virtual environment that holds the runtime and what it needs, nothing else."""

import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The committed bundle of a few kilobytes."""
    return ROOT / "tests" / "data" / "bundle"


@pytest.fixture(scope="session")
def clean_python(tmp_path_factory) -> Path:
    """The interpreter of an environment with a wheel of `runtime/` and its requirements.

    The requirements are linked from this environment, since tests have no network.
    """
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([python, "-c", query], text=True).strip())
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=ROOT / "runtime", check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("polyhead-*.whl"))) as wheel:
        wheel.extractall(site)
    for name in _closure("polyhead"):
        _link(name, site)
    return python


def _closure(name: str) -> set[str]:
    """Distributions that `name` needs, directly or not, without itself."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for text in metadata.requires(waiting.pop()) or ():
            requirement = Requirement(text)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and requirement.name.lower() not in found:
                found.add(requirement.name.lower())
                waiting.append(requirement.name)
    return found


def _link(name: str, site: Path) -> None:
    distribution = metadata.distribution(name)
    for top in {file.parts[0] for file in distribution.files or ()} - {".."}:
        source = Path(str(distribution.locate_file(top)))
        if source.exists() and not (site / top).exists():
            (site / top).symlink_to(source)
