"""The runtime answers the same without Unix's parts, under strict Pythons, frozen and zipped."""

import subprocess
import sys
import zipfile
from modulefinder import ModuleFinder
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "runtime" / "src"
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if path.name != "__main__.py"
)
BY_NAME = {"polyhead.serving.prometheus", "polyhead.bundle.writer"}  # a program imports them itself

# What Windows does not have; macOS has some of it.
WITHOUT_UNIX = """
import importlib, os, signal, sys
import multiprocessing, subprocess, tempfile  # Python's own have other ways there
import numpy, onnxruntime, tokenizers
for name in ("fcntl", "resource", "pwd", "grp", "termios", "pty"):
    sys.modules[name] = None
for name in ("fork", "register_at_fork", "sched_getaffinity", "getuid", "geteuid", "killpg",
             "pread", "fchmod", "fchown", "statvfs",
             "O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGALRM", "SIGUSR1", "setitimer", "alarm", "pthread_sigmask"):
    delattr(signal, name)
"""
IMPORT_ALL = f"import importlib, sys; list(map(importlib.import_module, {MODULES!r}))\n"
ANSWER = """
from polyhead.cli.main import main
sys.exit(main(["run", sys.argv[1], "Where is my lamp?"]) or main(["verify", sys.argv[1]]))
"""


def answers(bundle, script, *options, path=SOURCE):
    """Output of a script that answers a text and verifies the bundle."""
    done = subprocess.run(
        [sys.executable, *options, "-c", script, bundle],
        capture_output=True,
        env={"PYTHONPATH": ":".join(map(str, (path, *filter(None, sys.path))))},
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def usual(bundle):
    return answers(bundle, "import sys\n" + ANSWER)


def test_without_what_only_unix_has(bundle, usual):
    assert answers(bundle, WITHOUT_UNIX + IMPORT_ALL + ANSWER) == usual


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["-OO"], id="no_docstrings_nor_asserts"),
        pytest.param(["-W", "error", "-X", "warn_default_encoding"], id="warnings_are_errors"),
        pytest.param(["-P", "-s", "-B"], id="isolated"),
    ],
)
def test_under_a_strict_python(bundle, usual, options):
    assert answers(bundle, IMPORT_ALL + ANSWER, *options) == usual


def test_from_a_zip(bundle, usual, tmp_path):
    with zipfile.ZipFile(tmp_path / "polyhead.zip", "w") as packed:
        for path in SOURCE.rglob("*.py"):
            packed.write(path, path.relative_to(SOURCE))
    script = "import sys, polyhead\nassert '.zip' in polyhead.__file__\n" + ANSWER
    assert answers(bundle, script, path=tmp_path / "polyhead.zip") == usual


def test_tools_that_freeze_a_program_find_every_module(tmp_path):
    """They follow import statements, as `ModuleFinder` does; names in strings are lost to them."""
    (tmp_path / "program.py").write_text("import polyhead, polyhead_command\n")
    finder = ModuleFinder(path=[str(SOURCE)])
    finder.run_script(str(tmp_path / "program.py"))
    assert set(MODULES) - set(finder.modules) == BY_NAME
