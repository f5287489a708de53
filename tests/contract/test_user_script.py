"""A user's program passes strict type checkers and runs with the lean distribution alone."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("user_script.py")
WRONG = """
import polyhead
engine = polyhead.load("bundle", provider="gpu")
engine.predict(5)
engine("a", heads=5)
engine.predict(["a"], errors="ignore")
polyhead.load("bundle", thread=2)
engine("a").labels
text: int = engine("a").text
"""


CHECKERS = {
    "mypy": ("mypy", "--strict", "--no-error-summary"),
    "pyright": ("pyright", "--pythonpath", sys.executable),
}


@pytest.fixture(params=CHECKERS)
def wrong_lines(request):
    """Finds the lines of a file in which a type checker sees an error."""
    command = CHECKERS[request.param]
    pytest.importorskip(command[0])

    def check(path: Path) -> set[int]:
        done = subprocess.run(
            [sys.executable, "-m", *command, path],
            capture_output=True,
            text=True,
            check=False,
            cwd=SCRIPT.parents[2],
        )
        found = re.findall(r"\.py:(\d+)(?:: |:\d+ - )error\b", done.stdout)
        assert (done.returncode == 0) == (not found), done.stdout + done.stderr
        return {int(line) for line in found}

    return check


def test_the_script_passes_a_strict_checker(wrong_lines):
    assert wrong_lines(SCRIPT) == set()


def test_mistakes_are_found(wrong_lines, tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    assert wrong_lines(tmp_path / "wrong.py") == set(range(3, 10))


def test_the_script_runs_where_nothing_else_is_installed(clean_python, bundle):
    done = subprocess.run(
        [clean_python, "-W", "error", SCRIPT, bundle], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "was closed" in done.stdout
