"""Virtual environments of peers whose libraries clash with ours, and the scripts that run in them.

Pins in, an interpreter out: `pins` has a requirements file for each.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

from polyhead.system import atomic
from polyhead_bench import commands
from polyhead_bench.errors import PeerFault

_LINKED = ("polyhead", "polyhead_bench")
_READY = "installed.txt"
PINS = Path(__file__).parent / "pins"
"""Folder with ``NAME.txt`` for each environment."""
SCRIPTS = Path(__file__).parent / "scripts"

logger = logging.getLogger(__name__)


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


def run_script(interpreter: Path, script: str, *words: str | Path) -> None:
    """Run one of `scripts` in another environment; raises what `commands.run` raises."""
    command = [str(interpreter), str(SCRIPTS / f"{script}.py"), *map(str, words)]
    commands.run(command, f"{script}.py")


def install(cache: Path, name: str) -> Path:
    """Make an environment, or leave it when it has these pins already; returns its interpreter.

    Args:
        cache: folder of all environments; made when missing.
        name: of the environment; it is made of the pins under this name.

    Raises:
        PeerFault: when there are no pins or a step fails; says what it printed last. The next
            call begins anew.
    """
    file = PINS / f"{name}.txt"
    if not file.is_file():
        raise PeerFault(f"{file}: no such file; expected the pinned packages of {name!r}.")
    home = cache.absolute() / name
    ready, wanted = home / _READY, file.read_text(encoding="utf-8")
    if not ready.is_file() or ready.read_text(encoding="utf-8") != wanted:
        ready.unlink(missing_ok=True)
        logger.info("installing %s into %s", name, home)
        commands.module("venv", ["--clear", home], f"making {home}")
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        commands.run([*pip, "-r", str(file.absolute())], f"installing {file.name}")
        atomic.write(ready, wanted)
    _link(home / "packages")
    return python(cache, name)


def _link(folder: Path) -> None:
    """Links to our packages alone: what else is installed next to them stays out."""
    folder.mkdir(exist_ok=True)
    for name in _LINKED:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(Path(spec.origin).parent, target_is_directory=True)
