"""The two ends of a pipe: real engines, and processes that misbehave."""

import gc
import os
import stat
import sys
import textwrap
import time
from pathlib import Path

import pytest

from polyhead_bench.errors import BenchError, PeerFault
from polyhead_bench.harness.process import PeerProcess

READY = (
    '{"ready": true, "schedules": ["s"], "callers": 1, "concurrent": true, "info": {},'
    ' "marks": {"loaded": 1, "answered": 1, "process": 1}, "rss": 1, "disk": 1}'
)


@pytest.fixture
def script(tmp_path):
    """`script(code)`: an interpreter that runs `code` instead of the worker."""

    def make(code):
        path = tmp_path / "python"
        path.write_text(f"#!{sys.executable}\n{textwrap.dedent(code)}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


def noisy(code):
    """The real worker over a peer that `code` defines as a class `Noisy`."""
    return f"""
import sys
sys.path[:0] = {sys.path!r}
import types
from polyhead_bench import peers
from polyhead_bench.harness import worker
from polyhead_bench.peers.base import Peer
class Base(Peer):
    schedules, concurrent = ("s",), True
    def answer(self, text): return {{"topic": {{"label": text}}}}
    def answer_all(self, texts, schedule): return [self.answer(text) for text in texts]
    def info(self): return {{}}
{textwrap.dedent(code)}
module = types.ModuleType("polyhead_bench.peers.noisy")
module.load = lambda folder, threads, options: Noisy()
sys.modules["polyhead_bench.peers.noisy"] = module
peers.PEERS["noisy"] = peers.PeerSpec(about="", module="noisy", model="bundle")
worker.main(*sys.argv[3:])
"""


@pytest.fixture(scope="module")
def worker(models):
    """One that goes on living: for requests that it answers."""
    with PeerProcess("polyhead-int8", models.bundle, threads=2) as worker:
        yield worker


def test_a_worker_answers_every_text_with_a_time_and_answers_by_head(worker):
    found = worker.ask("single", texts=["The parcel was late.", ""], answers=True)
    assert len(found["ms"]) == 2
    assert all(time > 0 for time in found["ms"])
    assert [list(answer) for answer in found["answers"]] == [["topic"], ["topic"]]


def test_a_worker_tells_its_start_its_size_and_how_it_goes_about_lists(models):
    with PeerProcess("polyhead-int8", models.bundle, threads=1) as worker:
        ready, memory = worker.ready, worker.ask("memory")
    assert 0 < ready["marks"]["loaded"] < ready["marks"]["answered"] < ready["marks"]["process"]
    assert ready["disk"] == sum(path.stat().st_size for path in models.bundle.iterdir())
    assert (ready["schedules"], ready["callers"]) == (["engine"], 1)
    assert 0 < ready["rss"] <= memory["peak"] + 2**26


def test_a_list_of_texts_is_answered_in_order_under_a_schedule(worker):
    texts = ["Thanks!", "The parcel was late.", "Thanks, 5 stars!"]
    together = worker.ask("offline", texts=texts, schedule="engine", answers=True)
    alone = worker.ask("single", texts=texts, answers=True)
    assert together["seconds"] > 0
    assert together["answers"] == alone["answers"]


def test_the_parts_of_an_answer_are_told(worker):
    (parts,) = worker.ask("profile", texts=["The parcel was late."])["parts"]
    assert parts.keys() == {"tokenise", "run", "decode", "tokens"}
    assert min(parts["tokenise"], parts["run"]) > 0


def test_texts_that_arrive_by_a_clock_have_a_latency_each(worker):
    found = worker.ask("server", texts=["late", "thanks"], arrivals=[0.0, 0.001])
    assert len(found["ms"]) == 2


def test_a_worker_answers_again_and_any_text(worker):
    texts = ["né à 東京 👍\n\t", '"]}\u2028', "late " * 50, "late " * 600]
    one, two = (worker.ask("single", texts=texts, answers=True)["answers"] for _ in range(2))
    assert one == two


def test_the_process_is_gone_afterwards(models):
    with PeerProcess("polyhead-int8", models.bundle, threads=1) as worker:
        assert worker._process.poll() is None
    assert worker._process.poll() is not None


def test_the_process_is_gone_after_an_error_of_the_caller(models):
    with (
        pytest.raises(KeyboardInterrupt),
        PeerProcess("polyhead-int8", models.bundle, threads=1) as worker,
    ):
        raise KeyboardInterrupt
    assert worker._process.poll() is not None


@pytest.mark.parametrize(
    ("peer", "message"), [("polyhead-int8", "no bundle here"), ("torch", "no checkpoint here")]
)
def test_a_missing_folder_is_told_in_the_peers_last_words(tmp_path, peer, message):
    with pytest.raises(PeerFault, match=f"'{peer}' ended with code 1: .*none: {message}"):
        PeerProcess(peer, tmp_path / "none", threads=1)


def test_a_worker_that_could_not_start_leaves_no_pipe_open(tmp_path):
    with pytest.raises(PeerFault):
        PeerProcess("polyhead-int8", tmp_path / "none", threads=1)
    gc.collect()  # an open pipe would warn here, and warnings are errors


def test_a_text_that_the_peer_refuses_is_told_in_its_last_words(models):
    with (
        pytest.raises(PeerFault, match="WrongInput: input 0: found a pair"),
        PeerProcess("polyhead-int8", models.bundle, threads=1) as worker,
    ):
        worker.ask("single", texts=[("late", "late")])


def test_a_worker_that_was_killed_is_told_with_a_guess_why(models):
    worker = PeerProcess("polyhead-int8", models.bundle, threads=1)
    worker._process.kill()
    worker._process.wait()
    with (
        pytest.raises(PeerFault, match=r"code -9 \(killed; out of memory\?\): it said nothing"),
        worker,
    ):
        worker.ask("single", texts=["late"])


def test_a_peer_that_hangs_at_its_start_is_stopped_after_the_limit(script, tmp_path):
    with pytest.raises(PeerFault, match=r"did not answer within 0.5 s; it was stopped"):
        PeerProcess(
            "noisy", tmp_path, threads=1, python=script("import time\ntime.sleep(600)"), limit_s=0.5
        )


def test_a_peer_that_hangs_over_a_text_is_stopped_after_the_limit(script, tmp_path):
    code = f"""
        import sys, time
        print('{READY}', flush=True)
        time.sleep(600)
    """
    with PeerProcess("noisy", tmp_path, threads=1, python=script(code), limit_s=20) as worker:
        worker._limit = 0.5
        with pytest.raises(PeerFault, match="did not answer within"):
            worker.ask("single", texts=["late"])
        assert worker._process.wait(timeout=20) != 0


@pytest.mark.parametrize("line", ["hello", "[1, 2]", "{", "\\x00"], ids=repr)
def test_what_is_no_message_is_told(script, tmp_path, line):
    with pytest.raises(PeerFault, match="expected a JSON object"):
        PeerProcess("noisy", tmp_path, threads=1, python=script(f"print('{line}', flush=True)"))


def test_a_peer_that_crashes_is_told_with_its_last_words(script, tmp_path):
    code = f"""
        import sys
        print('{READY}', flush=True)
        sys.stdin.readline()
        sys.exit("the disk is on fire")
    """
    with (
        pytest.raises(PeerFault, match="ended with code 1: the disk is on fire"),
        PeerProcess("noisy", tmp_path, threads=1, python=script(code)) as worker,
    ):
        worker.ask("single", texts=["late"])


def test_what_libraries_print_does_not_break_the_messages(script, tmp_path):
    python = script(
        noisy("""
        import os
        class Noisy(Base):
            def answer(self, text):
                print("loading, please wait", flush=True)
                os.write(1, b"from a C library\\n")
                return super().answer(text)
    """)
    )
    with PeerProcess("noisy", tmp_path, threads=1, python=python) as worker:
        found = worker.ask("single", texts=["late"], answers=True)
    assert found["answers"] == [{"topic": {"label": "late"}}]


def test_a_peer_that_says_much_on_standard_error_does_not_block(script, tmp_path):
    python = script(
        noisy("""
        import sys
        class Noisy(Base):
            def answer(self, text):
                sys.stderr.write("x" * 200_000)
                return super().answer(text)
    """)
    )
    with PeerProcess("noisy", tmp_path, threads=1, python=python, limit_s=60) as worker:
        assert len(worker.ask("single", texts=["late"] * 3)["ms"]) == 3


def test_a_peer_that_does_not_exist_names_the_nearest(tmp_path):
    with pytest.raises(BenchError, match=r"no peer 'torhc'.*'torch'"):
        PeerProcess("torhc", tmp_path, threads=1)


def test_the_environment_tells_threads_and_no_spinning(script, tmp_path):
    code = """
        import json, os
        names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "TOKENIZERS_PARALLELISM")
        told = {name: os.environ[name] for name in names}
        keys = ("schedules", "callers", "concurrent", "info", "marks", "rss", "disk")
        print(json.dumps({**told, **dict.fromkeys(keys, 0)}), flush=True)
    """
    with PeerProcess("noisy", tmp_path, threads=3, python=script(code)) as worker:
        expected = {
            "OMP_NUM_THREADS": "3",
            "OMP_WAIT_POLICY": "PASSIVE",
            "TOKENIZERS_PARALLELISM": "false",
        }
        assert worker.ready.items() >= expected.items()
    assert os.environ.get("OMP_NUM_THREADS") != "3"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_worker_may_use_as_many_cpus_as_threads(models):
    with PeerProcess("polyhead-int8", models.bundle, threads=1) as worker:
        assert len(os.sched_getaffinity(worker._process.pid)) == 1
        assert worker.ready["info"]["cpus"] == sorted(os.sched_getaffinity(worker._process.pid))
    assert worker.ready["info"]["versions"].keys() >= {"numpy", "onnxruntime"}


def test_torch_answers_the_same_with_padding(models):
    texts = ["Thanks!", "The parcel was 3 days late.", "Thanks, 5 stars!", ""]
    with PeerProcess("torch", models.checkpoint, threads=1) as worker:
        alone = worker.ask("single", texts=texts, answers=True)["answers"]
        for schedule in ("batch 32, arrival order", "batch 32, sorted"):
            found = worker.ask("offline", texts=texts, schedule=schedule, answers=True)["answers"]
            for one, other in zip(found, alone, strict=True):
                assert one["topic"]["label"] == other["topic"]["label"]
                assert one["topic"]["score"] == pytest.approx(other["topic"]["score"], abs=1e-5)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        pytest.param('{"seconds": 1}', "without ms, answers", id="keys"),
        pytest.param('{"ms": [1, 2], "answers": []}', "gave 2 times for 1 texts", id="times"),
    ],
)
def test_an_answer_to_something_else_is_told(script, tmp_path, said, message):
    code = f"""
        import sys, time
        print('{READY}', flush=True)
        sys.stdin.readline()
        print('{said}', flush=True)
        time.sleep(600)
    """
    with (
        PeerProcess("odd", tmp_path, threads=1, python=script(code)) as worker,
        pytest.raises(PeerFault, match=message),
    ):
        worker.ask("single", texts=["x"])


def test_a_start_without_the_expected_keys_is_told(script, tmp_path):
    code = "import time; print('{}', flush=True); time.sleep(600)"
    with pytest.raises(PeerFault, match="without marks, rss, disk, schedules, callers, concurrent"):
        PeerProcess("odd", tmp_path, threads=1, python=script(code))


def test_a_process_that_reads_nothing_is_stopped_at_the_limit(script, tmp_path):
    code = f"import time; print('{READY}', flush=True); time.sleep(600)"
    with PeerProcess("odd", tmp_path, threads=1, python=script(code), limit_s=20) as worker:
        worker._limit = 0.2
        with pytest.raises(PeerFault, match="did not answer within"):
            worker.ask("single", texts=["x" * 1_000_000])


def test_what_the_process_started_ends_with_it(script, tmp_path):
    code = f"""
        import subprocess, time
        child = subprocess.Popen(['sleep', '600'])
        open({str(tmp_path / "pid")!r}, 'w').write(str(child.pid))
        print('{READY}', flush=True)
        time.sleep(600)
    """
    with PeerProcess("odd", tmp_path, threads=1, python=script(code)):
        pid = int((tmp_path / "pid").read_text())
    # The child is nobody's any more: it is gone, or waits to be collected.
    state = Path(f"/proc/{pid}/stat")
    until = time.monotonic() + 10
    while (alive := state.exists() and state.read_text().split()[2] not in "ZX") and (
        time.monotonic() < until
    ):
        os.sched_yield()
    assert not alive


def test_the_graph_alone_is_timed_on_rows_of_ids(worker):
    ids = [[2, 7, 8, 9, 3]] * 2
    samples = worker.ask("graph", ids=ids, seconds=0.01)["samples"]
    assert len(samples) >= 3
    assert min(samples) > 0


def test_threads_that_share_an_engine_get_the_answers_of_a_lone_caller(worker):
    texts = ["Thanks!", "The parcel was 3 days late.", "Thanks, 5 stars!"]
    found = worker.ask("load", texts=texts, callers=4, calls=20)
    assert (found["calls"], found["errors"], found["different"]) == (80, 0, 0)
    assert len(found["latencies"]) == 80


def test_an_engine_reloads_under_load(worker):
    found = worker.ask("load", texts=["Thanks!", "No."], callers=2, seconds=0.5, reload=0.1)
    assert found["calls"] > 0
    assert (found["errors"], found["different"]) == (0, 0)


def test_a_reload_that_fails_is_an_error(script, tmp_path):
    python = script(
        noisy("""
        class Noisy(Base):
            def reload(self):
                raise ValueError("no such file")
            def answer(self, text):
                return {"topic": {"label": text}}
    """)
    )
    with PeerProcess("noisy", tmp_path, threads=1, python=python) as worker:
        found = worker.ask("load", texts=["good"], callers=1, calls=5, reload=60)
    assert (found["calls"], found["errors"], found["different"]) == (5, 1, 0)


def test_errors_and_other_answers_under_load_are_counted(script, tmp_path):
    python = script(
        noisy("""
        import itertools
        class Noisy(Base):
            count = itertools.count()
            def answer(self, text):
                number = next(self.count)
                if text == "bad" and number > 20:
                    raise ValueError(text)
                return {"topic": {"label": text if number < 20 else f"{text} {number}"}}
    """)
    )
    with PeerProcess("noisy", tmp_path, threads=1, python=python) as worker:
        found = worker.ask("load", texts=["good", "bad"], callers=1, calls=50)
    assert found["calls"] == 50
    assert found["errors"] > 0
    assert found["different"] > 0
    assert found["errors"] + found["different"] <= 50
