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


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_strict_checker_passes_the_script_and_finds_mistakes(checker, tmp_path):
    command = CHECKERS[checker]
    pytest.importorskip(command[0])
    (tmp_path / "wrong.py").write_text(WRONG)
    done = subprocess.run(
        [sys.executable, "-m", *command, SCRIPT, tmp_path / "wrong.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=SCRIPT.parents[2],
    )
    found = re.findall(r"(\w+)\.py:(\d+)(?:: |:\d+ - )error\b", done.stdout)
    expected = {("wrong", str(line)) for line in range(3, 10)}
    assert set(found) == expected, done.stdout + done.stderr
