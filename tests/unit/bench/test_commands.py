import sys
import time

import pytest

from polyhead_bench import commands
from polyhead_bench.errors import PeerFault


def python(code):
    return [sys.executable, "-c", code]


def test_a_command_returns_what_it_printed():
    assert commands.run(python("print('hello')"), "x") == "hello\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param("import sys; sys.exit('polyhead export: no\\nTried:')", "export: no$", id="p"),
        pytest.param("raise ValueError('late')", "x failed: ValueError: late", id="last_line"),
        pytest.param("exit(3)", "x failed: it said nothing", id="nothing"),
    ],
)
def test_a_command_that_fails_says_why(code, message):
    with pytest.raises(PeerFault, match=message):
        commands.run(python(code), "x")


def test_an_interpreter_that_is_not_there_is_told(tmp_path):
    with pytest.raises(PeerFault, match="none cannot be started"):
        commands.run([str(tmp_path / "none")], "x")


def test_a_command_that_hangs_is_stopped_with_what_it_started():
    code = "import subprocess; subprocess.run(['sleep', '600'])"
    start = time.monotonic()
    with pytest.raises(PeerFault, match=r"x took longer than 0\.5 s; it was stopped"):
        commands.run(python(code), "x", limit_s=0.5)
    assert time.monotonic() - start < 60
