"""Lists answered when no thread can be had: at the interpreter's end, or in a full system."""

import subprocess
import sys

import pytest

START = """
import atexit, os, resource, sys, threading, time
import polyhead

engine = polyhead.load(sys.argv[1], threads=2, intra_op_min_tokens=1)
texts = [f"text number {i} " + "word " * (i % 9) for i in range(100)] + ["word " * 300]
expected = [p.to_dict() for p in engine.predict(texts)]

def ask(engine=engine):
    found = [p.to_dict() for p in engine.predict(texts)]
    assert found == expected
    assert engine(texts[-1]).to_dict() == expected[-1]
    return len(found)

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""

CASES = {
    "after_the_main_thread": """
def consume():
    threading.main_thread().join()
    time.sleep(0.2)
    say(ask())
threading.Thread(target=consume).start()
""",
    "atexit": """
atexit.register(lambda: say(ask()))
""",
    "atexit_with_an_engine_of_its_own": """
def late():
    with polyhead.load(sys.argv[1], threads=2) as own:
        say(ask(own))
atexit.register(late)
""",
    "atexit_after_reload": """
def late():
    engine.reload()
    say(ask())
atexit.register(late)
""",
    "del": """
class Last:
    def __init__(self):
        self.ask, self.say = ask, say
    def __del__(self):
        self.say(self.ask())
last = Last()
""",
    "del_of_a_module_that_ends": """
import builtins
class Last:
    def __del__(self, ask=ask, say=say):
        say(ask())
builtins.last = Last()
""",
    "fork_at_exit": """
def late():
    pid = os.fork()
    if pid == 0:
        say(ask())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
atexit.register(late)
""",
    "several_threads_after_the_main_thread": """
def consume():
    threading.main_thread().join()
    time.sleep(0.2)
    ask()
    done.append(1)
    if len(done) == 4:
        say(ask())
done = []
for _ in range(4):
    threading.Thread(target=consume).start()
""",
    "batcher_in_atexit": """
import asyncio
async def serve():
    async with polyhead.Batcher(engine) as batcher:
        return await asyncio.gather(*(batcher.predict(text) for text in texts))
def late():
    try:
        found = [p.to_dict() for p in asyncio.run(serve())]
        assert found == expected
    except polyhead.PolyheadError as problem:  # it has threads of its own
        pass
    say(len(texts))
atexit.register(late)
""",
    "no_more_threads": """
def refuse(thread):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
with polyhead.load(sys.argv[1], threads=4) as own:
    for _ in range(3):
        ask(own)
    say(ask(own))
""",
}


@pytest.mark.parametrize("case", CASES)
def test_a_list_is_computed_by_its_caller(real_bundle, case):
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            START + CASES[case],
            real_bundle,
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "101\n"
    assert done.returncode == 0


def test_daemon_threads_that_compute_do_not_hold_up_the_end(real_bundle):
    script = (
        START
        + """
def forever():
    while True:
        engine.predict(texts)
for _ in range(4):
    threading.Thread(target=forever, daemon=True).start()
time.sleep(0.5)
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", script, real_bundle], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0
