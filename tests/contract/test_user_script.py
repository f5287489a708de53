"""A user's program passes a strict type checker and runs with the lean distribution alone."""

import subprocess
import sys
from pathlib import Path

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


def mypy(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=SCRIPT.parents[2],
    )


def test_the_script_passes_mypy():
    done = mypy(SCRIPT)
    assert (done.returncode, done.stdout) == (0, "")


def test_mistakes_are_found(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    done = mypy("--config-file", "pyproject.toml", tmp_path / "wrong.py")
    lines = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert lines == set(range(3, 10)), done.stdout


def test_the_script_runs_where_nothing_else_is_installed(clean_python, bundle):
    done = subprocess.run(
        [clean_python, "-W", "error", SCRIPT, bundle], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "was closed" in done.stdout
