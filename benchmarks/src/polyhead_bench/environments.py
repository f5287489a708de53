"""Virtual environments of peers whose libraries clash with ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from polyhead_bench.errors import PeerFault

_LINKED = ("polyhead", "polyhead_bench")
_READY = "installed.txt"
_SAID = 300


def python(cache: Path, name: str) -> Path:
    """The interpreter of an environment.

    Raises:
        PeerFault: when it was not set up, or not completely.
    """
    if not (cache / name / _READY).is_file():
        raise PeerFault(
            f"not installed: the environment {name!r} is not at {cache / name}. Make it with"
            f" 'polyhead bench setup {name}'."
        )
    return cache / name / "bin" / "python"


def packages(cache: Path, name: str) -> Path:
    """The folder in an environment that has our packages, for `PYTHONPATH`."""
    return cache / name / "packages"


def install(cache: Path, name: str, pins: Path, *, note: Callable[[str], None]) -> Path:
    """Make an environment, or leave it when it has these pins already; returns its interpreter.

    Args:
        cache: folder of all environments; made when missing.
        name: of the environment.
        pins: a requirements file with exact versions.
        note: called before a step that takes a while.

    Raises:
        PeerFault: when there are no pins or a step fails; says what it printed last. The next
            call begins anew.
    """
    if not pins.is_file():
        raise PeerFault(f"{pins}: no such file; expected the pinned packages of {name!r}.")
    home = cache.absolute() / name
    ready, wanted = home / _READY, pins.read_text(encoding="utf-8")
    if not ready.is_file() or ready.read_text(encoding="utf-8") != wanted:
        ready.unlink(missing_ok=True)
        note(f"installing {name} into {home}")
        _run([sys.executable, "-m", "venv", "--clear", str(home)])
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _run([*pip, "-r", str(pins.absolute())])
        ready.write_text(wanted, encoding="utf-8")
    _link(home / "packages")
    return python(cache, name)


def _link(folder: Path) -> None:
    """Links to our packages alone: what else is installed beside them stays out."""
    folder.mkdir(exist_ok=True)
    for name in _LINKED:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(Path(spec.origin).parent, target_is_directory=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-_SAID:] or "it said nothing"
        raise PeerFault(f"'{' '.join(command)}' ended with code {done.returncode}: {said}")
