"""Peers that misbehave, as real processes: a script stands where the interpreter would."""

import os
import sys
import time
from pathlib import Path

import pytest

from polyhead_bench.errors import PeerFault
from polyhead_bench.process import Worker

READY = (
    'print(json.dumps({"ready": True, "info": {}, "schedules": ["s"], "callers": 1,'
    ' "first_ms": 1, "rss": 1, "disk": 1}), flush=True)\n'
)
ECHO = 'for line in sys.stdin: print(json.dumps({"echo": json.loads(line)}), flush=True)\n'


@pytest.fixture
def start(tmp_path):
    """Makes a worker of a script; its limit is long, unless a test waits for it."""

    def make(code, **more):
        script = tmp_path / "python"
        script.write_text(f"#!{sys.executable}\nimport json, os, signal, sys, time\n{code}")
        script.chmod(0o755)
        return Worker("odd", tmp_path, threads=1, python=script, **{"limit_s": 60.0, **more})

    return make


def test_the_pipe_carries_any_request(start):
    with start(READY + ECHO) as worker:
        assert worker.ask("x", texts=["né\n"])["echo"] == {"do": "x", "texts": ["né\n"]}


def test_a_crash_at_the_start_says_the_last_words(start):
    with pytest.raises(PeerFault, match=r"'odd' ended with code 1: RuntimeError: no such engine"):
        start('raise RuntimeError("no such engine")')


def test_a_crash_at_a_request_says_the_last_words(start):
    with (
        start(READY + 'sys.stdin.readline(); sys.exit("out of ideas")') as worker,
        pytest.raises(PeerFault, match="ended with code 1: out of ideas"),
    ):
        worker.ask("single", texts=[])


def test_a_hang_ends_at_the_limit_and_so_does_the_process(start):
    with start(READY + "time.sleep(600)") as worker:
        worker._limit = 0.2
        with pytest.raises(PeerFault, match=r"did not answer within 0\.2 s; it was stopped"):
            worker.ask("single", texts=[])
        assert worker._process.wait() == -9


def test_a_hang_at_the_start_ends_at_the_limit(start):
    with pytest.raises(PeerFault, match=r"did not answer within 0\.2 s"):
        start("time.sleep(600)", limit_s=0.2)


@pytest.mark.parametrize(
    "said",
    ["b'hello'", "b'[1]'", "b'\\xff\\xfe'", "b'null'"],
    ids=["word", "list", "bytes", "null"],
)
def test_garbage_is_told(start, said):
    with pytest.raises(PeerFault, match=r"'odd' sent b'.*, expected a JSON object"):
        start(f"sys.stdout.buffer.write({said} + b'\\n'); sys.stdout.flush(); time.sleep(600)")


def test_a_process_that_is_killed_is_told_with_the_likely_reason(start):
    with (
        start(READY + "sys.stdin.readline(); os.kill(os.getpid(), signal.SIGKILL)") as worker,
        pytest.raises(PeerFault, match=r"code -9 .killed; out of memory"),
    ):
        worker.ask("single", texts=[])


def test_an_interpreter_that_is_not_there_is_told(tmp_path):
    with pytest.raises(PeerFault, match="none: cannot be started"):
        Worker("odd", tmp_path, threads=1, python=tmp_path / "none")


def test_what_libraries_print_does_not_break_the_protocol(models):
    code = (
        "import sys; from polyhead_bench import worker; from polyhead_bench.peers import bundle;"
        "import os; real = bundle.BundlePeer.answer\n"
        "def loud(self, text):\n"
        "    print('noise'); os.write(1, b'more noise'); return real(self, text)\n"
        "bundle.BundlePeer.answer = loud\n"
        "worker.main(*sys.argv[3:])\n"
    )
    script = models.bundle.parent / "loud"
    script.write_text(f"#!{sys.executable}\n{code}")
    script.chmod(0o755)
    with Worker("polyhead-int8", models.bundle, threads=1, python=script) as worker:
        assert len(worker.ask("single", texts=["late"])["ms"]) == 1


def test_a_request_of_a_dead_process_is_a_fault_and_closing_twice_is_fine(start):
    worker = start(READY + "sys.exit(3)")
    worker._process.wait()
    with pytest.raises(PeerFault, match="ended with code 3"):
        worker.ask("single", texts=["x" * 100_000])
    worker.close()
    worker.close()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        pytest.param('{"seconds": 1}', "without ms, answers", id="keys"),
        pytest.param('{"ms": [1, 2], "answers": []}', "gave 2 times for 1 texts", id="times"),
    ],
)
def test_an_answer_to_something_else_is_told(start, said, message):
    with (
        start(READY + f"sys.stdin.readline(); print('{said}', flush=True); time.sleep(60)") as odd,
        pytest.raises(PeerFault, match=message),
    ):
        odd.ask("single", texts=["x"])


def test_a_start_without_the_expected_keys_is_told(start):
    with pytest.raises(PeerFault, match="without first_ms, rss, disk, schedules, callers, info"):
        start("print('{}', flush=True); time.sleep(60)")


def test_a_process_that_reads_nothing_is_stopped_at_the_limit(start):
    with start(READY + "time.sleep(600)") as worker:
        worker._limit = 0.2
        with pytest.raises(PeerFault, match="did not answer within"):
            worker.ask("single", texts=["x" * 1_000_000])


def test_what_the_process_started_ends_with_it(start, tmp_path):
    code = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
    )
    with start(code + READY + "time.sleep(600)"):
        pid = int((tmp_path / "pid").read_text())
    # The child is nobody's any more: it is gone, or waits to be collected.
    state = Path(f"/proc/{pid}/stat")
    until = time.monotonic() + 10
    while (alive := state.exists() and state.read_text().split()[2] not in "ZX") and (
        time.monotonic() < until
    ):
        os.sched_yield()
    assert not alive
