"""An engine and several processes: each loads it, inherits it by fork, or gets it pickled."""

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import process_cases
import pytest

import polyhead

TEXTS = ["where is my lamp ?", "thanks for the radio", "", "no kettle came in May"] * 6
NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
# Python 3.12 warns about fork beside threads; that is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@pytest.fixture
def engine(committed):
    with polyhead.load(committed, threads=2) as engine:
        yield engine


@pytest.fixture
def expected(engine):
    return [prediction.to_dict() for prediction in engine.predict(TEXTS)]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_each_process_loads_for_itself(committed, expected, method):
    context = multiprocessing.get_context(method)
    with context.Pool(2, process_cases.load, (str(committed),)) as pool:
        assert pool.map(process_cases.answer, [TEXTS] * 4) == [expected] * 4


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_an_engine_is_pickled_to_other_processes(engine, expected, method):
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        found = pool.starmap(process_cases.answer_with, [(engine, TEXTS)] * 4)
    assert found == [expected] * 4


def test_a_pickled_engine_has_the_same_settings(committed):
    settings = {"threads": 1, "batch_tokens": 64, "on_overflow": "truncate"}
    with (
        polyhead.load(committed, **settings) as engine,
        pickle.loads(pickle.dumps(engine)) as copy,
    ):
        assert copy.info() == engine.info()


@NEEDS_FORK
def test_processes_inherit_an_engine_that_was_used(engine, expected, monkeypatch):
    monkeypatch.setattr(process_cases, "engine", engine)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(process_cases.answer, [TEXTS] * 4) == [expected] * 4
    assert process_cases.answer(TEXTS) == expected  # the parent goes on


@NEEDS_FORK
def test_a_fork_while_other_threads_use_the_engine(engine, expected):
    stop = threading.Event()

    def traffic():
        while not stop.is_set():
            engine.predict(TEXTS)

    threads = [threading.Thread(target=traffic) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert _in_a_fork(lambda: process_cases.answer_with(engine, TEXTS)) == expected
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _in_a_fork(work):
    """The result of `work` in a forked child; a child that hangs is killed."""
    source, target = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            os.write(target, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(target)
    with os.fdopen(source, "rb") as pipe:
        found = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(found)


def test_the_tokenizers_library_does_not_warn_after_a_fork(committed):
    """`TOKENIZERS_PARALLELISM` needs no setting by the user."""
    script = (
        "import os, sys, polyhead\n"
        "engine = polyhead.load(sys.argv[1], threads=2)\n"
        "texts = ['where is my lamp ?'] * 50 + ['thanks ' * 5000]\n"  # the last in another way
        "engine.predict(texts)\n"
        "pid = os.fork()\n"
        "engine.predict(texts)\n"
        "if pid: os.waitpid(pid, 0)\n"
    )
    done = _without_setting(script, committed)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted by Linux")
def test_a_long_text_starts_no_threads_that_a_fork_would_lose(committed):
    script = (
        "import os, sys, pathlib, polyhead.text.tokenizer\n"
        "def threads(): return len(os.listdir('/proc/self/task'))\n"
        "path = pathlib.Path(sys.argv[1]) / 'tokenizer.json'\n"
        "tokenizer = polyhead.text.tokenizer.Tokenizer.from_file(path)\n"
        "before = threads()\n"
        "tokenizer.encode(['thanks ' * 5000])\n"
        "sys.exit(threads() - before)\n"
    )
    assert _without_setting(script, committed).returncode == 0


def _without_setting(script, bundle):
    """Run `script` where the user set no TOKENIZERS_PARALLELISM."""
    environment = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, bundle],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
    )
