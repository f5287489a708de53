"""`polyhead verify --isolated`: a stranger's bundle in a process with limits."""

import json
import shutil
import subprocess
import sys
from random import Random

import hostile_graphs
import pytest

from polyhead import InvalidSetting
from polyhead.verify import isolation

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of processes")
SOON = """
import os, resource, sys, time
from polyhead.errors import BundleUnsafe
from polyhead.verify.isolation import run_isolated

def work():
    {body}
    return 0

try:
    print(run_isolated(work, memory_gib=0.5, seconds={seconds}))
except BundleUnsafe as problem:
    print(problem)
"""


@pytest.fixture
def polyhead(command):
    """Runs `polyhead WORDS` in a process with one thread, which may fork."""
    start, environment = command

    def run(*words):
        done = subprocess.run(
            [*start, *map(str, words)], capture_output=True, text=True, check=False, env=environment
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


def isolated(command, body, seconds=20):
    """What a process says that isolates some work."""
    start, environment = command
    code = SOON.format(body=body, seconds=seconds)
    done = subprocess.run(
        [start[0], "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("body", "seconds", "said"),
    [
        pytest.param("return 7", 20, "7\n", id="exit_code"),
        pytest.param("time.sleep(99)", 0.5, "not done within 0.5 s", id="sleeps"),
        pytest.param("while True: pass", 0.5, "not done within 0.5 s", id="computes"),
        pytest.param("bytearray(2**30)", 20, "needs more memory than 0.5 GiB", id="memory"),
        pytest.param("os.abort()", 20, "ended by SIGABRT", id="abort"),
        pytest.param("os.kill(os.getpid(), 11)", 20, "ended by SIGSEGV", id="crash"),
        pytest.param("return resource.getrlimit(resource.RLIMIT_CORE)[0]", 20, "0\n", id="core"),
    ],
)
def test_work_ends_within_its_limits(command, body, seconds, said):
    assert said in isolated(command, body, seconds)


def test_other_systems_say_that_they_cannot(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(InvalidSetting, match="isolated: found win32, expected Linux"):
        isolation.run_isolated(int, memory_gib=1, seconds=1)


@pytest.mark.parametrize("limit", ["--memory", "--seconds"])
def test_a_limit_that_is_no_number_is_refused(polyhead, bundle, limit):
    done = polyhead("verify", bundle, "--isolated", limit, "-1")
    assert done.returncode == 1
    assert f"{limit[2:]}=-1.0: expected a number" in done.stderr


def test_limits_beyond_any_machine_are_no_limits(polyhead, bundle):
    words = ("--memory", "1e300", "--seconds", "1e300")
    assert polyhead("verify", bundle, "--isolated", *words).returncode == 0


def test_a_good_bundle_is_verified_as_without(polyhead, bundle):
    for words in ([], ["--json"]):
        usual, alone = (polyhead("verify", bundle, *words, *more) for more in ([], ["--isolated"]))
        assert usual.stdout == alone.stdout
        assert (usual.returncode, alone.returncode) == (0, 0)
    assert json.loads(alone.stdout)["passed"]


def test_an_error_of_the_bundle_is_told_as_without(polyhead, bundle_copy):
    (bundle_copy / "tokenizer.json").write_text("{}")
    usual, alone = (polyhead("verify", bundle_copy, *more) for more in ([], ["--isolated"]))
    assert alone.stderr == usual.stderr
    assert (usual.returncode, alone.returncode) == (1, 1)


@pytest.fixture
def hostile(collection, tmp_path, reseal):
    """A copy of a bundle whose graph looks honest and is not."""

    def make(attack):
        folder = shutil.copytree(collection.parent / "bundle", tmp_path / "hostile")
        file = folder / "model.int8.onnx"
        content, _ = hostile_graphs.hostile(file.read_bytes(), Random(3), [attack])
        file.write_bytes(content)
        reseal(folder)
        return folder

    return make


@pytest.mark.parametrize(
    ("attack", "limits"),
    [
        (hostile_graphs.doublings, ["--memory", "0.5"]),
        (hostile_graphs.allocations, ["--memory", "0.5"]),
        (hostile_graphs.long_work, ["--seconds", "3"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bundle_that_eats_time_or_memory_is_an_answer(polyhead, hostile, attack, limits):
    folder = hostile(attack)
    done = polyhead("verify", folder, "--isolated", *limits)
    assert done.returncode == 1
    assert done.stdout == ""
    assert str(folder) in done.stderr
    assert "Allocat" in done.stderr or "bad_alloc" in done.stderr or "not done" in done.stderr
